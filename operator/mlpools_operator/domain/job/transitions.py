"""What a status write tells for the first time: the difference between the status before and the one after.

Metrics are counted from here, once the write is stored. So a pass that is made again, a write that was
refused, and an operator that was restarted count nothing twice: the status before says it already.

What is read are the conditions that all kinds that take nodes have in common, and how much of its input one
has dealt with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlpools_operator.domain import times
from mlpools_operator.domain.attempt import stopping
from mlpools_operator.domain.job.facts import STOPPING
from mlpools_operator.domain.observed import Resource

Status = Mapping[str, Any]
Stage = Literal["Queued", "Starting", "Running"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """It got its nodes."""


@dataclass(frozen=True, slots=True)
class Spent:
    """It leaves a stage of its life."""

    stage: Stage
    seconds: float


@dataclass(frozen=True, slots=True)
class Restarted:
    """An attempt is over, and another one follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Preempted:
    """Its nodes were demanded for one of higher priority."""


@dataclass(frozen=True, slots=True)
class Finished:
    """It has ended, for good.

    Attributes:
        phase: ``Succeeded``, ``Failed`` or ``Cancelled``.
        reason: of its condition ``Complete`` or ``Failed``.
    """

    phase: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rested:
    """A notebook was told to stop, and starts again when somebody wants it.

    Attributes:
        reason: such as ``Idle`` or ``Suspended``.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Predicted:
    """More of the input of a batch inference is dealt with.

    Attributes:
        rows: that have a prediction now.
        done: shards that are written now.
        failed: shards that are given up now.
    """

    rows: int = 0
    done: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Switched:
    """A pool fell asleep or woke."""

    asleep: bool


Transition = Admitted | Spent | Restarted | Preempted | Finished | Rested | Predicted | Switched


def of_job(before: Resource, status: Status, now: float) -> tuple[Transition, ...]:
    """Return what a write tells of a resource that takes nodes.

    Args:
        before: the resource as it was.
        status: that was stored.
        now: seconds since the epoch.
    """
    was, then = _Life(before.status), _Life(status)
    told: list[Transition] = []
    if then.stage != was.stage and was.stage is not None:
        # The wait of one that gave up or rests says nothing about how fast a pool serves.
        if was.stage != "Queued" or then.admitted:
            since = waiting_since(before) if was.stage == "Queued" else was.since(_BEGUN[was.stage])
            told.append(Spent(was.stage, max(0.0, now - since)))
        if was.admitted and not (then.admitted or then.end or then.holds("Suspended")):
            told.append(Restarted(str(status.get("reason", ""))))
    if then.admitted and not was.admitted:
        told.append(Admitted())
    if then.reason(STOPPING) == stopping.PREEMPTED != was.reason(STOPPING):
        told.append(Preempted())
    if then.end and not was.end:
        told.append(Finished(str(status.get("phase", "")), then.reason(then.end)))
    predicted = Predicted(
        rows=_more(before.status, status, "rows", "done"),
        done=_more(before.status, status, "shards", "done"),
        failed=_more(before.status, status, "shards", "failed"),
    )
    return tuple(told) if predicted == Predicted() else (*told, predicted)


def _more(before: Status, status: Status, what: str, which: str) -> int:
    """Return by how much a number of the work has grown; one that was told as larger before is no less."""
    was, then = (it.get(what, {}).get(which, 0) for it in (before, status))
    return max(0, int(then) - int(was))


def of_pool(before: Resource, status: Status) -> tuple[Transition, ...]:
    """Return what a write tells of a pool."""
    slept, sleeps = "suspendedSince" in before.status, "suspendedSince" in status
    return (Switched(sleeps),) if slept != sleeps else ()


def waiting_since(resource: Resource) -> float:
    """Return since when a resource that holds no nodes has asked for them, back-off included."""
    life = _Life(resource.status)
    asked = life.since("Admitted") if resource.status.get("attempt") else resource.meta.created
    return max(asked, 0.0 if life.holds("Suspended") else life.since("Suspended"))


#: The condition whose transition began a stage.
_BEGUN: Mapping[Stage, str] = {"Starting": "Admitted", "Running": "Running"}


class _Life:
    """The conditions of a status."""

    def __init__(self, status: Status) -> None:
        self._conditions = {condition["type"]: condition for condition in status.get("conditions", ())}

    def holds(self, name: str) -> bool:
        return bool(self._conditions.get(name, {}).get("status") == "True")

    def since(self, name: str) -> float:
        return times.seconds(self._conditions.get(name, {}).get("lastTransitionTime"))

    def reason(self, name: str) -> str:
        return str(self._conditions.get(name, {}).get("reason", ""))

    @property
    def end(self) -> str:
        """The condition that says that it has ended; empty before."""
        return next((name for name in ("Complete", "Failed") if self.holds(name)), "")

    @property
    def admitted(self) -> bool:
        return self.holds("Admitted") and not self.end

    @property
    def stage(self) -> Stage | None:
        if self.end or self.holds("Suspended"):
            return None
        if self.admitted:
            return "Running" if self.holds("Running") else "Starting"
        return "Queued"
