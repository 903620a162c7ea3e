"""Hands off: while an object carries the annotation, nothing is written to it or to its children.

It is for an administrator who has to look at something, or to mend it by hand, without an operator that
undoes it. What runs goes on running, and goes on holding its nodes; what waits is not admitted. One write
says in a condition that it is so, and that condition goes with the annotation.
"""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import Condition
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.observed import Meta

ANNOTATION = "mlpools.dev/paused"
CONDITION = "Paused"

_MESSAGE = (
    f"Nothing of it is changed while it has the annotation {ANNOTATION}; take the annotation away to go on."
)


def asked(meta: Meta) -> bool:
    """Whether an object is to be left alone; the value ``false`` counts as no annotation."""
    return meta.annotations.get(ANNOTATION, "false") != "false"


def shown(before: tuple[Condition, ...], now: float) -> tuple[Condition, ...]:
    """Return the conditions as they were, and the one that says why nothing happens."""
    names = (condition.type for condition in before)
    return ConditionList(before, now).keep(*names).set(CONDITION, True, CONDITION, _MESSAGE).all()
