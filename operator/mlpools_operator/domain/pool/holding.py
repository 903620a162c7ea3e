"""Who holds nodes: a node is held until its pod is terminal or gone, not until a status says so."""

from __future__ import annotations

from collections.abc import Sequence

from mlpools_operator.domain.observed import JobChild, PodChild
from mlpools_operator.domain.pool.ledger import Pods

#: Beyond a pod's grace period: by then a kubelet that lives has killed it.
KILL_SECONDS = 30.0


def is_live(job: JobChild, pods: Sequence[PodChild]) -> bool:
    """Whether a Job has pods that run, or may still make some.

    Args:
        job: of one attempt.
        pods: any pods; those of other Jobs are ignored.
    """
    own = _pods_of(job, pods)
    unmade = 0 if job.ended or job.meta.deleting else max(1, job.parallelism) - _made(job, own)
    return unmade > 0 or any(not pod.terminal for pod in own)


def nodes_of(jobs: Sequence[JobChild], pods: Sequence[PodChild]) -> int:
    """Return the nodes that one owner's Jobs and pods hold.

    A Job that may still make pods holds a node for each of them, and a pod whose Job is gone holds its own.
    """
    held = sum(not pod.terminal for pod in pods)
    for job in jobs:
        if not job.ended and not job.meta.deleting:
            held += max(0, job.parallelism - _made(job, _pods_of(job, pods)))
    return held


def living(pods: Sequence[PodChild]) -> Pods:
    """Return how far the pods of one owner are that have not ended."""
    alive = [pod for pod in pods if not pod.terminal]
    scheduled = sum(bool(pod.node) for pod in alive)
    running = sum(pod.phase == "Running" for pod in alive)
    return Pods(len(alive) - scheduled, scheduled, running)


def _made(job: JobChild, own: Sequence[PodChild]) -> int:
    """Return how many of its pods a Job will not make any more: they are there, done, or given up."""
    if not job.replaces:
        return len(own)
    return len({pod.rank for pod in own if pod.phase != "Failed"} | job.given_up)


def _pods_of(job: JobChild, pods: Sequence[PodChild]) -> list[PodChild]:
    return [pod for pod in pods if pod.job == job.meta.uid]
