from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xgboost

from mlpools_operator.api.v1alpha1.xgboost import RESERVED_PARAMS
from mlpools_operator.domain import hyperparameters

#: Sections of XGBoost's configuration that hold parameters, and entries that only it sets.
_SECTION = ("_param", "_train_param")
_INTERNAL = {
    "boost_from_average", "num_feature", "num_target", "num_trees", "updater_seq", "max_row_perbatch",
    "debug_synchronize", "fail_on_invalid_gpu_id",
}  # fmt: skip
_KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"booster": "dart"},
    {"booster": "gblinear", "updater": "coord_descent"},
    {"tree_method": "approx"},
    {"tree_method": "exact"},
    {"objective": "reg:tweedie"},
    {"objective": "reg:quantileerror", "quantile_alpha": 0.5},
    {"objective": "reg:pseudohubererror"},
    {"objective": "survival:aft"},
    {"objective": "rank:ndcg"},
    {"objective": "multi:softmax", "num_class": 3},
)


def _parameters(config: Any, section: str = "") -> Iterator[str]:
    for name, value in config.items() if isinstance(config, dict) else enumerate(config):
        if isinstance(value, dict | list):
            yield from _parameters(value, str(name))
        elif section.endswith(_SECTION):
            yield str(name)


@pytest.mark.parametrize("kind", _KINDS, ids=str)
def test_whatever_xgboost_itself_lists_is_known(kind: dict[str, Any]) -> None:
    data = xgboost.DMatrix(np.zeros((4, 2)), label=np.arange(4))
    booster = xgboost.Booster({**kind}, [data])
    listed = set(_parameters(json.loads(booster.save_config())))
    assert "reg_lambda" in listed
    assert listed - hyperparameters.XGBOOST - RESERVED_PARAMS.keys() - _INTERNAL == set()


def test_no_parameter_is_both_known_and_refused() -> None:
    assert not hyperparameters.XGBOOST & RESERVED_PARAMS.keys()


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("max_dept", "max_depth"),
        ("learning-rate", "learning_rate"),
        ("Subsample", "subsample"),
        ("etaa", "eta"),
    ],
)
def test_a_typo_is_answered_with_the_name_that_was_meant(typo: str, meant: str) -> None:
    with pytest.raises(hyperparameters.UnknownParameterError, match=rf"'{typo}'; did you mean {meant}\?"):
        hyperparameters.check_xgboost({"eta": 0.1, typo: 1})


def test_known_parameters_pass() -> None:
    hyperparameters.check_xgboost({"max_depth": 8, "lambda": 1, "monotone_constraints": [1, 0]})
