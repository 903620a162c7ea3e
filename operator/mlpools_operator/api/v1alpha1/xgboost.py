"""What the user says about an XGBoost model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import ColumnName
from mlpools_operator.api.v1alpha1.meta import (
    INT_OR_STRING,
    LIST_SET,
    Extension,
    Model,
    Rule,
    at_most_one,
    camel,
)

_Objective = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z]+:[a-z0-9_]+$")]
_Metric = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9@.-]+$")]
_Metrics = Annotated[tuple[_Metric, ...], Field(min_length=1, max_length=16), LIST_SET]
_Columns = Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=4096), LIST_SET]

#: Parameters of XGBoost that are not taken in ``params``, and what to do instead. Two ways to say one
#: thing could contradict each other, and threads and device follow from the pool's shape.
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


def _reserved(name: str, instead: str) -> Rule:
    message = f"{name} is not taken in params: {instead}."
    return Rule(f"!has(self.{name})", message, lambda params: name not in params, f".{name}")


def _is_param(value: Any) -> bool:
    """Whether XGBoost takes such a value: a number, a string, a boolean, or a list of numbers and strings."""
    if isinstance(value, list):
        return all(isinstance(item, str | int | float) for item in value)
    return isinstance(value, str | int | float)


_Params = Annotated[
    dict[str, Any],
    Field(max_length=128),
    # CEL sees only declared properties, so the refused ones are declared.
    Extension(
        {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                name: {**INT_OR_STRING, "maxLength": 256, "description": f"Not taken here: {instead}."}
                for name, instead in RESERVED_PARAMS.items()
            },
        }
    ),
    *(_reserved(name, instead) for name, instead in RESERVED_PARAMS.items()),
    Rule(
        None,
        "params takes numbers, strings, booleans and lists of them.",
        lambda params: all(_is_param(value) for value in params.values()),
    ),
    Rule(
        None,
        f"params takes no name that begins with {_COLLECTIVE_PREFIX}: mlpools connects the nodes by itself.",
        lambda params: not any(name.lower().startswith(_COLLECTIVE_PREFIX) for name in params),
    ),
]


#: Fields that name a column which is nothing else; each with those before it.
_OWN_COLUMNS = {
    "weight": ("label",),
    "group_column": ("label", "weight"),
    "base_margin": ("label", "weight", "group_column"),
}


def _of_its_own(field: str, others: Sequence[str]) -> Rule:
    """Return the rule that a field names another column than other fields and the features do."""
    name = camel(field)
    different = [
        f"self.{name} != self.{other}"
        if other == "label"
        else f"(!has(self.{other}) || self.{name} != self.{other})"
        for other in map(camel, others)
    ]

    def holds(spec: Any) -> bool:
        column = getattr(spec, field)
        taken = {*(getattr(spec, other) for other in others), *(spec.features or ())}
        return column is None or column not in taken

    return Rule(
        f"!has(self.{name}) || {' && '.join(different)} && "
        f"!(has(self.features) && self.{name} in self.features)",
        f"{name} must be a column of its own, neither {', '.join(map(camel, others))} nor one of features.",
        holds,
        f".{name}",
    )


class XGBoostSpec(Model):
    """A boosted-trees model, trained with XGBoost's own collective over all nodes of the job."""

    rounds: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Boosting rounds: each adds a tree (or one for each class)."""
    objective: _Objective = "reg:squarederror"
    """What is minimised, in XGBoost's words, such as reg:squarederror or binary:logistic."""
    params: _Params = Field(default_factory=dict)
    """Further parameters of XGBoost as they are, such as max_depth and eta."""
    label: ColumnName
    """Column to predict."""
    features: _Columns | None = None
    """Columns to learn from. Absent: all but excluded, label, weight, groupColumn and baseMargin."""
    excluded: _Columns | None = None
    """Columns not to learn from. Not together with features."""
    weight: ColumnName | None = None
    """Column with the weight of each row; with groupColumn, of each group. Absent: all weigh the same."""
    group_column: ColumnName | None = None
    """Column whose equal values make a group, such as a query, for objectives that rank within groups. A
    group stays whole on one node."""
    base_margin: ColumnName | None = None
    """Column with the margin that the trees begin from in each row, such as another model's. Absent: all rows
    begin from the same."""
    early_stopping_rounds: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Rounds without a better metric on data.eval after which training stops. Absent: it runs to the end."""
    eval_metrics: _Metrics | None = None
    """Metrics in XGBoost's words, such as rmse, logloss or auc, over the rows of all nodes; the last one
    decides about early stopping. Absent: the objective's own."""

    rules: ClassVar[tuple[Rule, ...]] = (
        at_most_one(("features", "excluded"), "Give either features or excluded."),
        Rule(
            "!has(self.features) || !(self.label in self.features)",
            "The label must not be one of features: the model would learn to copy it.",
            lambda spec: spec.label not in (spec.features or ()),
            ".label",
        ),
        *(_of_its_own(field, others) for field, others in _OWN_COLUMNS.items()),
    )
