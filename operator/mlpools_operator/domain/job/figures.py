"""The figures that the statuses of all jobs have: nodes, node seconds, and machines that were lacking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mlpools_operator.api.v1alpha1 import FailedPod, JobNodes, JobStatus, LackedCapacity
from mlpools_operator.domain import times, wording
from mlpools_operator.domain.attempt.failures import Cause

_FAILED_SHOWN = 16
_POD_MESSAGE_BYTES = 512
_WORD_BYTES = 253

NodesT = TypeVar("NodesT", bound=JobNodes)


@dataclass(frozen=True, slots=True)
class Lack:
    """Too few machines for an attempt.

    Attributes:
        family: that it asked for.
        following: the family to try next.
        words: of the scheduler.
    """

    family: str
    following: str
    words: str


def nodes(known: NodesT, requested: int | None, ready: int, failed: Sequence[Cause]) -> NodesT:
    """Return the nodes; those that failed last are shown until others fail.

    Args:
        known: as they were.
        requested: by the spec; None if that cannot be read.
        ready: pods that run.
        failed: causes of the attempt that failed now.
    """
    wanted = known.requested if requested is None else requested
    return known.model_copy(
        update={
            "requested": wanted,
            "ready": ready,
            "failed": tuple(_failed_pod(cause) for cause in failed[:_FAILED_SHOWN]) or known.failed,
            "failed_count": len(failed) or known.failed_count,
            "summary": f"{ready}/{wanted}",
        }
    )


def lacked(lack: Lack, now: float) -> dict[str, Any]:
    """Return what is remembered of a lack of machines."""
    told = LackedCapacity(
        instance_family=lack.family,
        time=times.stamp(now),
        message=wording.fit(lack.words, _POD_MESSAGE_BYTES),
    )
    return {"instance_family": lack.following, "lacked_capacity": told}


def node_seconds(before: JobStatus, more: float) -> float | None:
    """Return the node seconds of all attempts; None as long as there are none.

    Args:
        before: the status as it was.
        more: node seconds that are not in it yet.
    """
    total = round((before.node_seconds or 0.0) + max(0.0, more), 1)
    return total or before.node_seconds


def _failed_pod(cause: Cause) -> FailedPod:
    return FailedPod(
        rank=cause.rank or 0,
        pod=wording.fit(cause.pod, _WORD_BYTES),
        node=wording.fit(cause.node, _WORD_BYTES),
        reason=cause.reason,
        exit_code=cause.exit_code,
        message=wording.fit(cause.message, _POD_MESSAGE_BYTES),
    )
