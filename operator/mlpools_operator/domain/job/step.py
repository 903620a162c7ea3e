"""One pass over one job: what all parts of its plan look at."""

from __future__ import annotations

from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import JobSpec
from mlpools_operator.domain import times
from mlpools_operator.domain.attempt import suspects
from mlpools_operator.domain.job.kind import AnyKind
from mlpools_operator.domain.job.status import Draft
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool import life


@dataclass(frozen=True, slots=True)
class Step:
    """One pass over one job.

    Attributes:
        spec: of the job, checked.
        draft: builds its next status.
        now: seconds since the epoch.
    """

    job: Resource
    spec: JobSpec
    draft: Draft
    now: float

    @property
    def kind(self) -> AnyKind:
        """The kind of the job."""
        return self.draft.kind

    @property
    def size(self) -> int:
        """How many nodes the attempt holds."""
        return self.draft.size(self.spec)

    @property
    def attempt(self) -> int:
        """The attempt that holds nodes."""
        return self.draft.before.attempt

    @property
    def grace(self) -> float:
        """Seconds that a pod has between SIGTERM and SIGKILL."""
        return float(self.spec.termination_grace_period_seconds)

    @property
    def avoided(self) -> tuple[str, ...]:
        """Machines that its pods keep away from, as long as there are others."""
        return suspects.avoided(self.draft.before.suspect_nodes)

    def stop_all(self, pool: Resource | None) -> str:
        """Return the moment of the pool's ``stopAll`` if that ends this job, else nothing."""
        moment = life.stop_all(pool)
        ends = life.stopped_by(pool, self._started, self.now)
        return times.deadline(moment) if ends else ""

    def until_stop_all(self, pool: Resource | None) -> float | None:
        """Return the seconds until the pool's ``stopAll`` ends this job, None if it will not."""
        moment = life.stop_all(pool)
        return moment - self.now if self._started and moment > self.now else None

    @property
    def _started(self) -> float:
        return times.seconds(self.draft.before.start_time)
