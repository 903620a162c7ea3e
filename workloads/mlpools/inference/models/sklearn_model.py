"""Estimators and pipelines of scikit-learn: by skops, or as a pickle of somebody whom the user trusts."""

from __future__ import annotations

import zipfile
from typing import Any

import pyarrow as pa

from mlpools.errors import ModelUnreadable
from mlpools.inference.models import Given
from mlpools.inference.models.base import (
    MAIN,
    PROBABILITY,
    Predictions,
    as_array,
    check_features,
    chosen,
    matrix,
)

_CALLED = "scikit-learn model"


class SklearnModel:
    """Predicts as ``predict`` does; a classifier's probabilities are in a column of their own."""

    names_columns = False

    def __init__(self, estimator: Any, columns: list[str], *, named: bool) -> None:
        self._estimator = estimator
        self._named = named
        self.columns = columns
        self.unknown = 0

    def predict(self, rows: pa.Table) -> Predictions:
        """Return predictions, and probabilities if the estimator has them."""
        rows = rows.select(self.columns)
        given = _plain(rows).to_pandas() if self._named else matrix(rows, "float64")
        found = {MAIN: as_array(self._estimator.predict(given))}
        if hasattr(self._estimator, "predict_proba"):
            found[PROBABILITY] = as_array(self._estimator.predict_proba(given))
        return found


def load(given: Given) -> SklearnModel:
    """Load an estimator.

    Raises:
        ModelUnreadable: its file has types that nobody trusts, or is a pickle that nobody allowed.
    """
    estimator = _skops(given) if zipfile.is_zipfile(given.file) else _pickle(given)
    if not hasattr(estimator, "predict"):
        raise ModelUnreadable(f"{given.file.name} holds a {type(estimator).__name__}, which cannot predict.")
    own = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    features = chosen(_CALLED, own, getattr(estimator, "n_features_in_", None), given.features)
    check_features(_CALLED, features, given.schema, texts=None if own else ())
    return SklearnModel(estimator, features, named=bool(own))


def _plain(rows: pa.Table) -> pa.Table:
    """Return rows without decimals, which pandas makes objects of."""
    kinds = [pa.float64() if pa.types.is_decimal(field.type) else field.type for field in rows.schema]
    return rows.cast(pa.schema(list(zip(rows.column_names, kinds, strict=True))))


def _skops(given: Given) -> Any:
    import skops.io

    unknown = [
        name
        for name in skops.io.get_untrusted_types(file=given.file)
        if name not in given.spec.params.get("trusted", ())
    ]
    if unknown:
        raise ModelUnreadable(
            f"{given.file.name} has types that skops does not trust by itself: {', '.join(unknown[:10])}. If "
            "you do, list them in model.params.trusted."
        )
    return skops.io.load(given.file, trusted=list(given.spec.params.get("trusted", ())))


def _pickle(given: Given) -> Any:
    if given.spec.params.get("allowPickle") is not True:
        raise ModelUnreadable(
            f"{given.file.name} is not of skops but a pickle, and loading one runs code that is in it. Save "
            "the model with skops, or, if you trust the file, set model.params.allowPickle to true."
        )
    import joblib

    return joblib.load(given.file)
