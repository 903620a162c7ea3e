"""LightGBM's parameters as the operator knows them are those of the library, and each is judged once."""

from __future__ import annotations

from typing import Any

import pytest
from lightgbm.basic import _ConfigAliases

from mlpools.refusals import LIGHTGBM_REFUSED_PARAMS
from mlpools_operator.api.v1alpha1.lightgbm import LightGBMSpec
from mlpools_operator.domain.training.hyperparameters import RefusedParameterError
from mlpools_operator.domain.training.lightgbm_parameters import LIGHTGBM, check_lightgbm

#: Said in fields of their own, or by the pod.
_FIELDS = {"objective", "metric", "num_iterations", "early_stopping_round", "num_threads", "tree_learner"}


def test_every_parameter_of_the_library_is_taken_refused_or_a_field() -> None:
    library = {name: set(names) for name, names in _ConfigAliases._get_all_param_aliases().items()}
    taken: dict[str, set[str]] = {}
    for name, main in LIGHTGBM.items():
        taken.setdefault(main, set()).add(name)
    assert taken == {name: library[name] for name in taken}
    assert set(library) == set(taken) | set(LIGHTGBM_REFUSED_PARAMS) | _FIELDS
    assert not set(taken) & (set(LIGHTGBM_REFUSED_PARAMS) | _FIELDS)


def check(nodes: int = 1, **fields: Any) -> None:
    check_lightgbm(LightGBMSpec.model_validate({"label": "y", **fields}), nodes)


@pytest.mark.parametrize("name", sorted(LIGHTGBM))
def test_what_can_be_used_is_let_through(name: str) -> None:
    check(params={name: 1})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        *(({"params": {name: 1}}, f"leave '{name}' out: ") for name in sorted(LIGHTGBM_REFUSED_PARAMS)),
        ({"params": {"num_leave": 7}}, "has no parameter 'num_leave' for a job; did you mean num_leaves?"),
        ({"params": {"qqq": 7}}, "has no parameter 'qqq' for a job; see the lists in LightGBM's"),
        ({"params": {"boosting": "rf"}}, "cannot go on from a checkpoint"),
        ({"objective": "binaryy"}, "spec.lightgbm.objective: .*did you mean binary?"),
        ({"objective": "lambdarank"}, "name their column with groupColumn"),
        ({"objective": "ova", "baseMargin": "m"}, "has a margin for each class"),
        ({"evalMetrics": ["rsme"]}, "spec.lightgbm.evalMetrics: .*did you mean rmse?"),
        ({"nodes": 2, "objective": "quantile"}, "use huber or fair, or nodes: 1"),
        ({"nodes": 2, "params": {"mc_method": "advanced"}}, "monotone_constraints_method can be basic only"),
    ],
)
def test_what_no_worker_takes_is_refused_before_the_job_queues(fields: dict[str, Any], words: str) -> None:
    rest = {name: value for name, value in fields.items() if name != "nodes"}
    with pytest.raises(RefusedParameterError, match=words):
        check(fields.get("nodes", 1), **rest)
    if "nodes" in fields:
        check(1, **rest)
