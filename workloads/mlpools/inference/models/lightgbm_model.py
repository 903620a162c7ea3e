"""Boosters of LightGBM, ours and others'."""

from __future__ import annotations

import re
from typing import Any

import lightgbm as lgb
import pyarrow as pa

from mlpools.data.columns import kind_of
from mlpools.errors import ModelUnreadable
from mlpools.inference.models import Given
from mlpools.inference.models.base import MAIN, Predictions, as_array, check_features, chosen, matrix
from mlpools.inference.models.inputs import Inputs
from mlpools.train.lightgbm_text import columns_of

_CALLED = "LightGBM model"
#: What LightGBM calls features that nobody named.
_UNNAMED = re.compile(r"Column_\d+")
#: How a model's text writes the range of a feature that is a number, and one that was not used.
_NUMBERS, _UNUSED = "[", "none"


class LightGBMModel:
    """Predicts as ``Booster.predict`` does, with the rounds of the file, which end with the best one."""

    names_columns = False

    def __init__(self, booster: Any, inputs: Inputs, threads: int) -> None:
        self._booster = booster
        self._threads = threads
        self._inputs = inputs
        self.columns = list(inputs.features)

    @property
    def unknown(self) -> int:
        """Values of unknown categories so far."""
        return self._inputs.unknown

    def predict(self, rows: pa.Table) -> Predictions:
        """Return predictions."""
        given = matrix(self._inputs.numbers(rows))
        return {MAIN: as_array(self._booster.predict(given, num_threads=self._threads))}


def load(given: Given) -> LightGBMModel:
    """Load a model in LightGBM's text form.

    Raises:
        ModelUnreadable: which of its features are categories cannot be told.
    """
    text = given.file.read_text(encoding="utf-8")
    booster = lgb.Booster(model_str=text)
    contract = columns_of(text)
    names = booster.feature_name()
    own = [] if all(_UNNAMED.fullmatch(name) for name in names) else names
    if contract is not None:
        own = list(contract.features)
    features = chosen(_CALLED, own, booster.num_feature(), given.features)
    inputs = (
        Inputs.of_contract(contract)
        if contract
        else Inputs(features, _categories(text, booster.pandas_categorical or [], features, given.schema))
    )
    check_features(_CALLED, features, given.schema, texts=inputs.texts)
    return LightGBMModel(booster, inputs, given.threads)


def _categories(
    text: str, lists: list[list[Any]], features: list[str], schema: pa.Schema
) -> dict[str, pa.Array]:
    """Return the lists of categories of the pandas frame that a model learned from, by feature.

    The model's text has them in the frame's order, and says of each feature what values it had. Of one that
    was not used it says nothing: such are categories where the lists say that there are more, and the input
    has texts.
    """
    if not lists:
        return {}
    found = re.search(r"^feature_infos=(.*)$", text, re.MULTILINE)
    infos = dict(zip(features, found[1].split(" ") if found else [], strict=False))
    unused = [name for name in features if infos.get(name, _UNUSED) == _UNUSED]
    names = [name for name in features if name not in unused and not infos[name].startswith(_NUMBERS)]
    if len(names) < len(lists):
        texts = {field.name for field in schema if kind_of(field.type) == "c"}
        names = [name for name in features if name in names or (name in unused and name in texts)]
    if len(names) != len(lists):
        raise ModelUnreadable(
            f"The {_CALLED} has {len(lists)} lists of categories, but {len(names)} features that could be "
            f"meant: {', '.join(names[:10])}. Was it trained from a pandas frame, and saved whole?"
        )
    return {name: pa.array(values) for name, values in zip(names, lists, strict=True)}
