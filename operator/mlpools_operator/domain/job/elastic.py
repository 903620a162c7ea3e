"""Workers that come and go: an attempt begins with one node, and how many it has changes while it runs.

Rank 0 hands out the work and is the attempt: with its end the attempt is over. Every other rank costs what it
has in hand when it goes, no more, and the Job controller replaces it; the node of one that fails again and
again is given back. What the attempt has is written in its status before its Job follows, so that no node is
promised twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlpools_operator.api.v1alpha1 import ElasticNodes, ElasticStatus, JobSpec
from mlpools_operator.domain import times
from mlpools_operator.domain.attempt import failures
from mlpools_operator.domain.attempt.failures import Cause, Ending
from mlpools_operator.domain.job import figures
from mlpools_operator.domain.observed import JobChild, PodChild
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import indexed_job


def asks(spec: JobSpec) -> int:
    """One: rank 0 can do all of it."""
    return 1


def uses(before: ElasticStatus, spec: JobSpec, useful: int | None) -> int:
    """As many as its author lets it have, as there is work for, and as workers do not only fail on."""
    most = spec.nodes - _lost(before)
    return max(1, most if useful is None else min(most, useful))


def holds(before: ElasticStatus, spec: JobSpec | None) -> int:
    """What its status says."""
    return before.nodes.granted if before.nodes else 0


def keeps(before: ElasticStatus, spec: JobSpec, *, made: bool) -> int:
    """All that it was granted: pods may come at any time, in place of those that went or as further ones."""
    return holds(before, spec)


def nodes(before: ElasticStatus, spec: JobSpec | None, ready: int, failed: Sequence[Cause]) -> ElasticNodes:
    """Return the nodes, of which there are at most those of the spec."""
    return figures.nodes(before.nodes or ElasticNodes(), spec.nodes if spec else None, ready, failed)


def granted(before: ElasticStatus, nodes: int, now: float, lost: int = 0) -> Mapping[str, Any]:
    """Note how many there are from now on, and charge what there was."""
    known = before.nodes or ElasticNodes()
    changed = known.model_copy(update={"granted": nodes, "granted_at": times.stamp(now), "lost": lost})
    return {"nodes": changed, "node_seconds": figures.node_seconds(before, _since(before, now))}


def spent(before: ElasticStatus, spec: JobSpec | None, held_for: float, now: float) -> Mapping[str, Any]:
    """Charge what there was; none is left."""
    if not before.nodes or not before.nodes.granted:
        return {}
    held = round((before.held_seconds or 0.0) + max(0.0, held_for), 1)
    return {**granted(before, 0, now), "held_seconds": held}


def _since(before: ElasticStatus, now: float) -> float:
    """Return the node seconds since the number of nodes changed."""
    if not before.nodes or not before.nodes.granted:
        return 0.0
    return before.nodes.granted * max(0.0, now - times.seconds(before.nodes.granted_at))


def held_seconds(before: ElasticStatus, spec: JobSpec) -> float:
    """As the status counts them."""
    return before.held_seconds or 0.0


def judge(
    job: JobChild | None, pods: Sequence[PodChild], nodes: int, grace: float, now: float
) -> Ending | None:
    """Say how rank 0 ended. While it lives, nothing that happens to others ends the attempt.

    With a rank 0 that failed the attempt is over, although the Job controller may have begun to replace it:
    the others have left it by then.
    """
    firsts, needed = vital(pods, nodes)
    failed = [pod for pod in firsts if pod.phase == "Failed"]
    return failures.judge(job, failed or firsts, needed, grace, now)


def vital(pods: Sequence[PodChild], nodes: int) -> tuple[Sequence[PodChild], int]:
    """Rank 0 alone."""
    return [pod for pod in pods if pod.rank == 0], 1


def ready(pods: Sequence[PodChild], nodes: int) -> int:
    """Return how many of its pods run."""
    return min(nodes, sum(pod.ready for pod in pods))


def lost(before: ElasticStatus, job: JobChild | None) -> int:
    """As many as ranks were given up; a Job that had fewer pods for a while has forgotten some of them."""
    return max(_lost(before), len(job.given_up) if job else 0)


def wanted(before: ElasticStatus, job: JobChild | None, pods: Sequence[PodChild], nodes: int) -> int:
    """Give back nodes of ranks that were given up, and the last ones once their ranks are done.

    They end when there is nothing left to take.
    """
    nodes = max(1, nodes - (lost(before, job) - _lost(before)))
    done = {pod.rank for pod in pods if pod.phase == "Succeeded"}
    while nodes > 1 and _ranks(job, nodes) - 1 in done:
        nodes -= 1
    return nodes


def pods(job: JobChild, nodes: int) -> int:
    """One for each node, and those that will not come any more."""
    return _ranks(job, nodes)


def form(spec: JobSpec, nodes: int) -> Object:
    """Return a Job of that many pods for now, each of which is replaced a few times."""
    return indexed_job.elastic(nodes, spec.max_restarts)


def _lost(before: ElasticStatus) -> int:
    return before.nodes.lost if before.nodes else 0


def _ranks(job: JobChild | None, nodes: int) -> int:
    """Return how many ranks, from 0, have so many among them that were not given up."""
    for rank in sorted(job.given_up) if job else ():
        nodes += rank < nodes
    return nodes
