from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xgboost

from mlpools.data.columns import Columns
from mlpools.errors import BadHyperParameter
from mlpools.refusals import XGBOOST_METRICS, XGBOOST_OBJECTIVES
from mlpools.train.xgboost.parameters import Parameters, rehearse
from mlpools_operator.api.v1alpha1.xgboost import RESERVED_PARAMS, XGBoostSpec
from mlpools_operator.domain.training import hyperparameters
from mlpools_operator.domain.training.hyperparameters import RefusedParameterError

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

#: A value other than the default for each parameter that is not a plain number, and what goes with it.
_USES: dict[str, dict[str, Any]] = {
    "booster": {"booster": "dart"},
    "tree_method": {"tree_method": "auto"},
    "grow_policy": {"grow_policy": "lossguide"},
    "sampling_method": {"sampling_method": "uniform"},
    "multi_strategy": {"multi_strategy": "one_output_per_tree"},
    "monotone_constraints": {"monotone_constraints": "(1,0)"},
    "interaction_constraints": {"interaction_constraints": "[[0,1]]"},
    "max_bin": {"max_bin": 64},
    "num_class": {"num_class": 3, "objective": "multi:softmax"},
    "quantile_alpha": {"quantile_alpha": 0.3, "objective": "reg:quantileerror"},
    "huber_slope": {"huber_slope": 2, "objective": "reg:pseudohubererror"},
    "tweedie_variance_power": {"tweedie_variance_power": 1.3, "objective": "reg:tweedie"},
    "sample_type": {"sample_type": "weighted", "booster": "dart"},
    "normalize_type": {"normalize_type": "forest", "booster": "dart"},
    **{name: {name: 1, "booster": "dart"} for name in ("rate_drop", "one_drop", "skip_drop")},
    **{name: {name: 1, "objective": "rank:ndcg"} for name in hyperparameters.RANKING},
    "lambdarank_pair_method": {"lambdarank_pair_method": "topk", "objective": "rank:ndcg"},
}


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
    known = hyperparameters.XGBOOST | hyperparameters.REFUSED.keys() | RESERVED_PARAMS.keys()
    assert listed - known - _INTERNAL == set()


def _complaint(params: dict[str, Any]) -> str:
    data = xgboost.DMatrix(np.zeros((4, 2)), label=np.arange(4) % 2)
    try:
        xgboost.Booster(params, [data]).eval(data)
    except xgboost.core.XGBoostError as error:
        return str(error)
    return ""


def test_the_tables_of_names_are_xgboosts_own() -> None:
    listed = re.findall(r"Objective candidate: (\S+)", _complaint({"objective": "no:such"}))
    assert set(listed) == XGBOOST_OBJECTIVES
    assert "Unknown metric" in _complaint({"eval_metric": "rsme"})
    for name in sorted(XGBOOST_METRICS):  # some need several classes, or a number behind their name
        assert "Unknown metric" not in _complaint({"eval_metric": name})


def test_each_parameter_stands_in_one_list() -> None:
    lists = (hyperparameters.XGBOOST, hyperparameters.REFUSED.keys(), RESERVED_PARAMS.keys())
    assert len(frozenset().union(*lists)) == sum(map(len, lists))


def _operator(params: dict[str, Any], *, nodes: int = 2, **section: Any) -> None:
    """Check as before a job queues."""
    spec = XGBoostSpec.model_validate({"label": "y", "params": params, **section})
    hyperparameters.check_xgboost(spec, nodes)


def _worker(params: dict[str, Any], *, nodes: int = 2, **section: Any) -> None:
    """Check as a worker does before it reads data."""
    spec = {"rounds": 1, "label": "y", "objective": "reg:squarederror", "params": params, **section}
    parameters = Parameters.from_spec(spec, threads=1)
    parameters.check(["train"], nodes)
    group = parameters.section.group
    rehearse(parameters, Columns(features=("a", "b"), kinds=("float", "float"), label="y", group=group))


@pytest.mark.parametrize("name", sorted(hyperparameters.XGBOOST))
def test_what_the_operator_lets_through_a_worker_can_use(name: str) -> None:
    params = dict(_USES.get(name, {name: 1}))
    section = {"objective": params.pop("objective", "reg:squarederror")}
    if name in hyperparameters.RANKING:
        section["groupColumn"] = "query"
    _operator(params, **section)
    _worker(params, **section)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        *(({"params": {name: 0.7}}, f"leave '{name}' out: ") for name in sorted(hyperparameters.REFUSED)),
        ({"params": {"booster": "gblinear"}}, "booster cannot be 'gblinear' here; use gbtree or dart"),
        ({"params": {"tree_method": "exact"}}, "tree_method cannot be 'exact' here; use hist or auto"),
        ({"params": {"tree_method": "approx"}}, "tree_method cannot be 'approx' here"),
        ({"objective": "rank:ndcg"}, "'rank:ndcg' ranks within groups: set groupColumn"),
        (
            {"objective": "survival:aft"},
            "'survival:aft' needs bounds of labels .*; use an objective of single",
        ),
        ({"objective": "reg:squarederr"}, "no objective 'reg:squarederr'; did you mean reg:squarederror"),
        ({"objective": "my:own"}, "no objective 'my:own'; see the lists in XGBoost's documentation"),
        ({"evalMetrics": ["loglos@0.5"]}, "no metric 'loglos@0.5'; did you mean logloss"),
        ({"evalMetrics": ["rmse", "ndcg@5"]}, "'ndcg@5' ranks within groups: set groupColumn"),
        ({"evalMetrics": ["cox-nloglik"]}, "'cox-nloglik' depends on the order .*; use logloss"),
        ({"groupColumn": "q", "weight": "w"}, "'reg:squarederror' cannot do: leave weight out"),
        ({"params": {"lambdarank_unbiased": 1}}, "it belongs to objectives that rank"),
    ],
    ids=str,
)
def test_what_a_worker_refuses_never_queues(section: dict[str, Any], words: str) -> None:
    whole = {"params": {}, **section}
    with pytest.raises(BadHyperParameter):
        _worker(**whole)
    with pytest.raises(RefusedParameterError, match=rf"^spec\.xgboost\.\w+: .*{words}.*[.?]$"):
        _operator(**whole)


@pytest.mark.parametrize("metric", ["auc", "aucpr"])
def test_areas_under_curves_are_taken_over_all_nodes(metric: str) -> None:
    _operator({}, evalMetrics=[metric])
    _worker({}, evalMetrics=[metric])


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
    with pytest.raises(RefusedParameterError, match=rf"'{typo}'; did you mean {meant}\?"):
        _operator({"eta": 0.1, typo: 1})


def test_known_parameters_pass() -> None:
    _operator({"max_depth": 8, "lambda": 1, "monotone_constraints": [1, 0]})
