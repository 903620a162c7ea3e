"""What the user says about a LightGBM model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.trees import Metrics, TreesSpec, params_taken

_Objective = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z0-9_]+$")]

_THREADS = "threads follow from the CPUs of the pool's nodes"
_ROUNDS = "set lightgbm.rounds"
_PATIENCE = "set lightgbm.earlyStoppingRounds"

#: Parameters of LightGBM that are not taken in ``params``, and what to do instead; their other names are
#: refused before the job queues.
RESERVED_PARAMS = {
    "objective": "set lightgbm.objective",
    "metric": "set lightgbm.evalMetrics",
    "num_iterations": _ROUNDS,
    "num_boost_round": _ROUNDS,
    "n_estimators": _ROUNDS,
    "early_stopping_round": _PATIENCE,
    "early_stopping_rounds": _PATIENCE,
    "num_threads": _THREADS,
    "n_jobs": _THREADS,
    "tree_learner": "set lightgbm.treeLearner",
}

_Params = Annotated[dict[str, Any], *params_taken(RESERVED_PARAMS)]


class LightGBMSpec(TreesSpec):
    """A boosted-trees model, trained with LightGBM's own network over all nodes of the job."""

    objective: _Objective = "regression"
    """What is minimised, in LightGBM's words, such as regression, binary or lambdarank."""
    params: _Params = Field(default_factory=dict)
    """Further parameters of LightGBM as they are, such as num_leaves and learning_rate."""
    eval_metrics: Metrics | None = None
    """Metrics in LightGBM's words, such as rmse, binary_logloss or auc, over the rows of all nodes; the last
    one decides about early stopping. Absent: the objective's own."""
    tree_learner: Literal["data", "voting", "feature"] = "data"
    """How nodes share the work. data: each sums histograms of its rows over all features. voting: only over
    those that nodes vote for, for very many features; slightly other trees. feature: on one node only."""
