"""Stopping an attempt on purpose: who wants it, how it is done, and when it is over.

A user suspends or cancels the job, the pool's administrator stops all, its time is used up, or admission
needs its nodes. The way is always the same. The status says why it stops; then the attempt's Job is deleted,
so that its pods get SIGTERM and have their grace for a last checkpoint; and once they have ended the job
rests, ends, or queues again. Because the reason stands in the status before anything is deleted, a crash
half-way, or a user who thinks better of it meanwhile, leads to the same orderly end of the attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mlpools_operator.domain.attempt.failures import is_machine_gone
from mlpools_operator.domain.observed import JobChild, PodChild
from mlpools_operator.domain.pool.holding import KILL_SECONDS
from mlpools_operator.domain.pool.ledger import Verdict

#: What Jobs and pods do is heard within this time, or the operator would not count as healthy: it bounds
#: how long pods may exist of which nothing is known here.
NEWS_SECONDS = 60.0

CANCELLED = "Cancelled"
DEADLINE_EXCEEDED = "DeadlineExceeded"
SUSPENDED = "Suspended"
PREEMPTED = "Preempted"


class Stoppable(Protocol):
    """The fields of a spec by which its author stops what runs."""

    @property
    def cancel(self) -> bool:
        """End for good."""

    @property
    def suspend(self) -> bool:
        """Rest until it is false again."""

    @property
    def active_deadline_seconds(self) -> int | None:
        """Seconds for which nodes may be held."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why an attempt has to stop, or a job may not start.

    Attributes:
        reason: ``Cancelled``, ``DeadlineExceeded``, ``Suspended`` or ``Preempted``.
        message: one sentence for a person.
    """

    reason: str
    message: str

    @property
    def final(self) -> bool:
        """Whether nothing can follow: what was said once holds, even if the spec is changed afterwards."""
        return self.reason in (CANCELLED, DEADLINE_EXCEEDED)


#: Nothing stops it any more.
RESUMED = Stop("Resumed", "It was resumed, and queues with its age.")


def demand(
    spec: Stoppable, held_seconds: float, verdict: Verdict | None = None, stop_all: str = ""
) -> Stop | None:
    """Return why a job must not go on, the gravest first, or None if it may.

    Args:
        spec: of the job.
        held_seconds: for which it has held nodes, over all attempts.
        verdict: admission's on the attempt that holds nodes now.
        stop_all: the moment of the pool's ``stopAll``, if that ends this job; else empty.
    """
    if spec.cancel:
        return Stop(CANCELLED, "It was cancelled (spec.cancel).")
    if stop_all:
        return Stop(
            CANCELLED, f"It was cancelled: its pool's stopAll ends all jobs started before {stop_all}."
        )
    limit = spec.active_deadline_seconds
    if limit is not None and held_seconds >= limit:
        return Stop(
            DEADLINE_EXCEEDED,
            f"It has held its nodes for activeDeadlineSeconds ({limit} s). A new job with a longer deadline, "
            "the same output and output.mode Resume goes on from the newest checkpoint.",
        )
    if spec.suspend:
        return Stop(SUSPENDED, "It is suspended (spec.suspend); set suspend to false to let it go on.")
    if verdict is not None and verdict.evict:
        return Stop(PREEMPTED, verdict.message)
    return None


def seconds_left(spec: Stoppable, held_seconds: float) -> float | None:
    """Return the seconds for which it may still hold nodes; None = no limit."""
    limit = spec.active_deadline_seconds
    return None if limit is None else limit - held_seconds


def may_be_deleted(job: JobChild, pods: Sequence[PodChild], now: float) -> bool:
    """Whether deleting an attempt's Job leaves no pod behind of which nobody here knows.

    A pod that is not known holds a node that would be given to somebody else.

    Args:
        job: of the attempt.
        pods: of the attempt.
        now: seconds since the epoch.
    """
    all_known = len({pod.rank for pod in pods}) >= job.parallelism
    return bool(job.ended) or all_known or now >= job.meta.created + NEWS_SECONDS


def is_over(job: JobChild | None, pods: Sequence[PodChild], *, stopped_for: float, grace: float) -> bool:
    """Whether the attempt has stopped: its Job is on its way out, and none of its pods runs.

    A pod on a machine that is lost never tells that it ended. It goes on holding its node, but is not waited
    for longer than a machine that lives would need to kill it.

    Args:
        job: of the attempt.
        pods: of the attempt.
        stopped_for: seconds since the status says that it stops.
        grace: seconds that a pod has between SIGTERM and SIGKILL.
    """
    if job is not None and not job.meta.deleting:
        return False
    overdue = stopped_for >= grace + KILL_SECONDS
    return overdue or all(pod.terminal or is_machine_gone(pod) for pod in pods)
