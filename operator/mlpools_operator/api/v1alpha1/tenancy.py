"""Who may use a pool, and how much of it: selectors of namespaces, and limits for those that match."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.meta import Model, Rule

_Key = Annotated[
    str,
    StringConstraints(
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
_Value = Annotated[
    str, StringConstraints(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]


class LabelRequirement(Model):
    """A condition on one label."""

    key: _Key
    """Name of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """In: the label has one of the values. NotIn: it has none of them, or is absent. Exists: it is there.
    DoesNotExist: it is absent."""
    values: Annotated[tuple[_Value, ...], Field(max_length=100)] = ()
    """Values for In and NotIn."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "In and NotIn need values; Exists and DoesNotExist take none.",
            lambda it: (it.operator in ("In", "NotIn")) == bool(it.values),
        ),
    )


class NamespaceSelector(Model):
    """Namespaces by their labels. Without any condition it means all of them."""

    match_labels: dict[str, _Value] = Field(default_factory=dict, max_length=50)
    """Labels that a namespace must have. Each has its own name in kubernetes.io/metadata.name."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=50)] = ()
    """Conditions that must all hold."""

    @property
    def selects_all(self) -> bool:
        """Whether it holds for every namespace, whatever its labels."""
        return not self.match_labels and not self.match_expressions


class NamespaceLimit(Model):
    """What each namespace that matches may hold. Where several entries match, the strictest of each holds."""

    namespaces: NamespaceSelector | None = None
    """The namespaces that are meant, each by itself. Without it: every namespace."""
    max_nodes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Nodes that the jobs of one namespace hold together at most. Without it: as many as the pool has."""
    max_priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | None = None
    """Highest priority that a job may ask for. Without it: 0."""
    node_seconds_per_30d: Annotated[int, Field(ge=1, le=1_000_000_000_000)] | None = None
    """Node seconds that the jobs of one namespace may use within 30 days. Once they are spent no job of the
    namespace is admitted until days of the past drop out; what runs goes on. Without it: no budget."""
