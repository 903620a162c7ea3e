"""Boosters of XGBoost, ours and others'."""

from __future__ import annotations

import json
import os
from typing import Any

import pyarrow as pa
import xgboost as xgb

from mlpools.data.columns import Columns
from mlpools.inference.models import Given
from mlpools.inference.models.base import MAIN, Predictions, as_array, check_features, chosen, matrix
from mlpools.inference.models.inputs import Inputs
from mlpools.train.xgboost.device import choose

_CALLED = "XGBoost model"
#: Linear boosters take a matrix only, and have no rounds to choose from.
_LINEAR = "gblinear"


class XGBoostModel:
    """Predicts as ``Booster.predict`` does, with the rounds up to the best one."""

    names_columns = False

    def __init__(self, booster: Any, inputs: Inputs, margin: str) -> None:
        self._booster = booster
        self._inputs = inputs
        self._margin = margin
        self._linear = json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == _LINEAR
        # Of Arrow's dictionaries it takes those of texts alone.
        self._frames = len(inputs.texts) < len(inputs.categories)
        self._rounds = (0, 0 if self._linear else int(booster.attr("best_iteration") or -1) + 1)
        self.columns = list(dict.fromkeys([*inputs.features, *([margin] if margin else [])]))

    @property
    def unknown(self) -> int:
        """Values of unknown categories so far."""
        return self._inputs.unknown

    def predict(self, rows: pa.Table) -> Predictions:
        """Return predictions, of trees without making a matrix of the rows first."""
        margin = matrix(rows.select([self._margin]), "float32")[:, 0] if self._margin else None
        features = self._inputs.table(rows)
        if self._linear:
            given = xgb.DMatrix(features, base_margin=margin)
            values = self._booster.predict(given, validate_features=False)
        else:
            values = self._booster.inplace_predict(
                features.to_pandas() if self._frames else features,
                iteration_range=self._rounds,
                base_margin=margin,
                validate_features=False,
            )
        return {MAIN: as_array(values)}


def load(given: Given) -> XGBoostModel:
    """Load a model in XGBoost's JSON or binary JSON."""
    booster = xgb.Booster()
    booster.load_model(bytearray(given.file.read_bytes()))  # by its content, not by its name
    gpus = 0 if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else len(_gpus())
    device = choose(
        "" if given.spec.device == "auto" else given.spec.device,
        gpus=gpus,
        workers=1,
        built_for_gpus=bool(xgb.build_info().get("USE_CUDA")) or given.spec.device == "auto",
    )
    if device == "cuda" and not xgb.build_info().get("USE_CUDA"):
        device = "cpu"
    booster.set_param({"nthread": given.threads, "device": device})
    saved = booster.attr("mlpools_columns")
    contract = Columns.from_json(saved) if saved else None
    own = list(contract.features) if contract else list(booster.feature_names or ())
    features = chosen(_CALLED, own, booster.num_features(), given.features)
    inputs = Inputs.of_contract(contract) if contract else Inputs(features, _categories(booster, features))
    check_features(_CALLED, features, given.schema, texts=inputs.texts)
    margin = contract.margin if contract and contract.margin in given.schema.names else ""
    return XGBoostModel(booster, inputs, margin)


def _categories(booster: Any, features: list[str]) -> dict[str, pa.Array]:
    """Return the lists of a model that learned from columns of categories; of codes there are none."""
    if "c" not in (booster.feature_types or ()):
        return {}
    lists = booster.get_categories(export_to_arrow=True).to_arrow() or []
    return {
        name: values
        for name, (_, values) in zip(features, lists, strict=False)
        if values is not None and len(values)
    }


def _gpus() -> list[str]:
    return [name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit()]  # noqa: PTH208 - names alone
