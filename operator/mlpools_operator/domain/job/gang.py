"""A gang: all of its nodes or none, from the beginning of an attempt to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlpools_operator.api.v1alpha1 import JobNodes, JobSpec, JobStatus
from mlpools_operator.domain.attempt import failures
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.job import figures
from mlpools_operator.domain.observed import JobChild, PodChild
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import indexed_job

#: When a gang is over is decided pod by pod, see there.
judge = failures.judge


def asks(spec: JobSpec) -> int:
    """All of them."""
    return spec.nodes


def uses(before: JobStatus, spec: JobSpec, useful: int | None) -> int:
    """All of them, and no more."""
    return spec.nodes


def holds(before: JobStatus, spec: JobSpec | None) -> int:
    """All of them."""
    if spec is not None:
        return spec.nodes
    return before.nodes.requested if before.nodes else 0


def keeps(before: JobStatus, spec: JobSpec, *, made: bool) -> int:
    """All of them, until its Job is there; then each node is free as soon as its pod has ended."""
    return 0 if made else spec.nodes


def nodes(before: JobStatus, spec: JobSpec | None, ready: int, failed: Sequence[Cause]) -> JobNodes:
    """Return the nodes of a gang."""
    return figures.nodes(before.nodes or JobNodes(), spec.nodes if spec else None, ready, failed)


def granted(before: JobStatus, nodes: int, now: float, lost: int = 0) -> Mapping[str, Any]:
    """Nothing is to be remembered: it holds what its spec says."""
    return {}


def spent(before: JobStatus, spec: JobSpec | None, held_for: float, now: float) -> Mapping[str, Any]:
    """Add the node seconds of an attempt."""
    return {"node_seconds": figures.node_seconds(before, holds(before, spec) * held_for)}


def held_seconds(before: JobStatus, spec: JobSpec) -> float:
    """Earlier attempts held as many nodes as this one."""
    return (before.node_seconds or 0.0) / spec.nodes


def vital(pods: Sequence[PodChild], nodes: int) -> tuple[Sequence[PodChild], int]:
    """Each of them."""
    return pods, nodes


def ready(pods: Sequence[PodChild], nodes: int) -> int:
    """Each of them, since it works."""
    return nodes


def lost(before: JobStatus, job: JobChild | None) -> int:
    """None: with a rank all of it ends."""
    return 0


def wanted(before: JobStatus, job: JobChild | None, pods: Sequence[PodChild], nodes: int) -> int:
    """Its size never changes."""
    return nodes


def pods(job: JobChild, nodes: int) -> int:
    """As it has: it is created once and never changed."""
    return job.parallelism


def form(spec: JobSpec, nodes: int) -> Object:
    """Return a Job of that many pods, none of which is ever replaced."""
    return indexed_job.gang(nodes)
