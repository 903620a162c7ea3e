"""What the user says about a model of boosted trees, whichever library grows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

Metric = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9_@.-]+$")]
Metrics = Annotated[tuple[Metric, ...], Field(min_length=1, max_length=16), LIST_SET]
_Columns = Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=4096), LIST_SET]


def params_taken(reserved: Mapping[str, str]) -> tuple[Any, ...]:
    """Return what a field of free parameters is annotated with.

    Args:
        reserved: parameters that are not taken there, and what to do instead. Two ways to say one thing
            could contradict each other, and threads and device follow from the pool's shape.
    """
    return (
        Field(max_length=128),
        # CEL sees only declared properties, so the refused ones are declared.
        Extension(
            {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {
                    name: {**INT_OR_STRING, "maxLength": 256, "description": f"Not taken here: {instead}."}
                    for name, instead in reserved.items()
                },
            }
        ),
        *(_reserved(name, instead) for name, instead in reserved.items()),
        Rule(
            None,
            "params takes numbers, strings, booleans and lists of them.",
            lambda params: all(_is_param(value) for value in params.values()),
        ),
    )


def _reserved(name: str, instead: str) -> Rule:
    message = f"{name} is not taken in params: {instead}."
    return Rule(f"!has(self.{name})", message, lambda params: name not in params, f".{name}")


def _is_param(value: Any) -> bool:
    """Whether trees take such a value: a number, a string, a boolean, or a list of numbers and strings."""
    if isinstance(value, list):
        return all(isinstance(item, str | int | float) for item in value)
    return isinstance(value, str | int | float)


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


class TreesSpec(Model):
    """What all models of boosted trees are told."""

    rounds: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Boosting rounds: each adds a tree (or one for each class)."""
    label: ColumnName
    """Column to predict."""
    features: _Columns | None = None
    """Columns to learn from. Absent: all but excluded, label, weight, groupColumn and baseMargin."""
    excluded: _Columns | None = None
    """Columns not to learn from. Not together with features."""
    weight: ColumnName | None = None
    """Column with the weight of each row, equal in a group. Absent: all weigh the same."""
    group_column: ColumnName | None = None
    """Column whose equal values make a group, such as a query, for objectives that rank within groups. A
    group stays whole on one node."""
    base_margin: ColumnName | None = None
    """Column with the margin that the trees begin from in each row, such as another model's. Absent: all rows
    begin from the same."""
    early_stopping_rounds: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Rounds without a better metric on data.eval after which training stops. Absent: it runs to the end."""

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
