"""What the user says about an XGBoost model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.meta import Rule
from mlpools_operator.api.v1alpha1.trees import Metrics, TreesSpec, params_taken

_Objective = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z]+:[a-z0-9_]+$")]

#: Parameters of XGBoost that are not taken in ``params``, and what to do instead.
RESERVED_PARAMS = {
    "objective": "set xgboost.objective",
    "eval_metric": "set xgboost.evalMetrics",
    "num_boost_round": "set xgboost.rounds",
    "num_round": "set xgboost.rounds",
    "n_estimators": "set xgboost.rounds",
    "early_stopping_rounds": "set xgboost.earlyStoppingRounds",
    "nthread": "threads follow from the CPUs of the pool's nodes",
    "n_jobs": "threads follow from the CPUs of the pool's nodes",
    "device": "the device follows from the GPUs of the pool's nodes",
}
_COLLECTIVE_PREFIX = "dmlc_"

_Params = Annotated[
    dict[str, Any],
    *params_taken(RESERVED_PARAMS),
    Rule(
        None,
        f"params takes no name that begins with {_COLLECTIVE_PREFIX}: mlpools connects the nodes by itself.",
        lambda params: not any(name.lower().startswith(_COLLECTIVE_PREFIX) for name in params),
    ),
]


class XGBoostSpec(TreesSpec):
    """A boosted-trees model, trained with XGBoost's own collective over all nodes of the job."""

    objective: _Objective = "reg:squarederror"
    """What is minimised, in XGBoost's words, such as reg:squarederror or binary:logistic."""
    params: _Params = Field(default_factory=dict)
    """Further parameters of XGBoost as they are, such as max_depth and eta."""
    external_memory: Literal["auto", "never", "always"] = "auto"
    """Whether rows lie in files on the node's disk instead of in its memory once they are binned. auto: if a
    node's rows do not fit into its memory, by their number; rounds take longer then."""
    eval_metrics: Metrics | None = None
    """Metrics in XGBoost's words, such as rmse, logloss or auc, over the rows of all nodes; the last one
    decides about early stopping. Absent: the objective's own."""
