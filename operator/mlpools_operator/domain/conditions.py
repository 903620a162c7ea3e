"""Conditions: the transition time changes only when the status does."""

from __future__ import annotations

from collections.abc import Iterable

from mlpools_operator.api.v1alpha1 import Condition
from mlpools_operator.domain import times, wording


class ConditionList:
    """Conditions of a new status, made from those of the status before.

    A condition that is not set anew is not in the list: a status is built from scratch every time.
    """

    def __init__(self, previous: Iterable[Condition], now: float) -> None:
        self._previous = {condition.type: condition for condition in previous}
        self._now = times.stamp(now)
        self._new: dict[str, Condition] = {}

    def set(self, name: str, holds: bool, reason: str, message: str = "") -> ConditionList:
        """Add a condition; the message is cut to what a status takes."""
        status = "True" if holds else "False"
        before = self._previous.get(name)
        since = before.last_transition_time if before and before.status == status else self._now
        self._new[name] = Condition.model_validate(
            {
                "type": name,
                "status": status,
                "reason": reason,
                "message": wording.fit(message),
                "lastTransitionTime": since,
            }
        )
        return self

    def keep(self, *names: str) -> ConditionList:
        """Add conditions as they were."""
        self._new |= {name: self._previous[name] for name in names if name in self._previous}
        return self

    def all(self) -> tuple[Condition, ...]:
        """Return the conditions in the order in which they were set."""
        return tuple(self._new.values())


def holds(conditions: Iterable[Condition], name: str) -> bool:
    """Whether a condition is there and true."""
    return any(condition.type == name and condition.status == "True" for condition in conditions)


def reason_of(conditions: Iterable[Condition], name: str) -> str:
    """Return a condition's reason; empty without it."""
    return next((condition.reason for condition in conditions if condition.type == name), "")


def since(conditions: Iterable[Condition], name: str) -> float:
    """Return when a condition took its present status, in seconds since the epoch; 0 without it."""
    return next(
        (times.seconds(condition.last_transition_time) for condition in conditions if condition.type == name),
        0.0,
    )
