"""What a job's status says of it: where it is in its life, and since when."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import JobSpec, JobStatus
from mlpools_operator.domain import paused, times
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.conditions import holds, since
from mlpools_operator.domain.job.kind import AnyKind
from mlpools_operator.domain.observed import Resource

#: The condition in which it stands why the current attempt was told to stop.
STOPPING = "Stopping"


class Facts:
    """A job's status as it was, read at one moment.

    Attributes:
        kind: of the job.
        before: the status as it was, but for the condition that it is paused: that one is made anew.
        was_paused: the status says that it is paused.
    """

    def __init__(self, kind: AnyKind, job: Resource, now: float) -> None:
        told: JobStatus = kind.status.model_validate(job.status)
        lasting = tuple(it for it in told.conditions if it.type != paused.CONDITION)
        self.was_paused = len(lasting) < len(told.conditions)
        self.kind, self._told = kind, told
        self.before = told.model_copy(update={"conditions": lasting})
        self._job = job
        self._now = now

    @property
    def ended(self) -> bool:
        """Whether the job is complete or has failed, for good."""
        return self._holds("Complete") or self._holds("Failed")

    @property
    def admitted(self) -> bool:
        """Whether it holds its nodes for the current attempt."""
        return self._holds("Admitted")

    @property
    def running(self) -> bool:
        """Whether all pods of the current attempt were seen running."""
        return self._holds("Running")

    @property
    def rests(self) -> bool:
        """Whether it is suspended and holds nothing."""
        return self._holds("Suspended")

    @property
    def stop(self) -> Stop | None:
        """Why the current attempt was told to stop, None if it was not."""
        found = (Stop(it.reason, it.message) for it in self.before.conditions if it.type == STOPPING)
        return next(found, None)

    @property
    def stopping_since(self) -> float:
        """When the current attempt was told to stop."""
        return since(self.before.conditions, STOPPING)

    @property
    def admitted_at(self) -> float:
        """When the current attempt got its nodes."""
        return since(self.before.conditions, "Admitted")

    @property
    def not_before(self) -> float:
        """When its back-off ends; 0 without one."""
        return times.seconds(self.before.not_before)

    def held_seconds(self, spec: JobSpec) -> float:
        """Return for how long it has held nodes, over all attempts."""
        return self.kind.holding.held_seconds(self.before, spec) + self.held_for

    def size(self, spec: JobSpec) -> int:
        """Return how many nodes the current attempt holds."""
        return self.kind.holding.holds(self.before, spec)

    @property
    def held_for(self) -> float:
        """For how many seconds the current attempt has held its nodes; 0 if it holds none."""
        return max(0.0, self._now - self.admitted_at) if self.admitted else 0.0

    def _holds(self, condition: str) -> bool:
        return holds(self.before.conditions, condition)
