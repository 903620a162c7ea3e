"""How many further nodes a notebook has: as many as it asks for and admission gave it, one by one.

What it was given stands in its status before its Job follows, so that no node is promised twice. Admission
takes none of them back; the notebook's author does, by asking for fewer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlpools_operator.api.v1alpha1 import ClusterStatus, NotebookRuntimeSpec, NotebookRuntimeStatus
from mlpools_operator.domain import naming
from mlpools_operator.domain.attempt import children, starting, stopping
from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.observed import JobChild, PodChild
from mlpools_operator.domain.plan import Delete, Scale
from mlpools_operator.domain.pool.ledger import Verdict

_NO_COMMAND = (
    "Its image starts by a command of its own, of which mlpools knows nothing: name spec.command, and start "
    "it again, to have a cluster."
)
_NOT_A_HEAD = "It was started without a cluster: stop it and start it again to have one."


def held(before: NotebookRuntimeStatus) -> int:
    """Return the further nodes that its status says it has."""
    return before.cluster.nodes if before.cluster else 0


def wanted(spec: NotebookRuntimeSpec, made: JobChild | None) -> int:
    """Return the further nodes that it can use now: none before its pod is made as the head of a cluster."""
    return 0 if made is None or obstacle(spec, made) else spec.cluster.nodes


def obstacle(spec: NotebookRuntimeSpec, made: JobChild | None) -> str:
    """Return why it can have no further nodes, empty if it can.

    Args:
        spec: of the notebook.
        made: its StatefulSet: what it was started as holds until the next start.
    """
    if made is None or made.meta.annotations.get(naming.CLUSTER) == "true":
        return ""
    return _NO_COMMAND if spec.runtime.image and not spec.command else _NOT_A_HEAD


def size(
    spec: NotebookRuntimeSpec,
    before: NotebookRuntimeStatus,
    made: JobChild | None,
    verdict: Verdict | None,
    generation: int,
) -> int:
    """Return how many further nodes it is to have from now on."""
    has, asked = held(before), wanted(spec, made)
    if has >= asked:
        return asked
    if verdict is None or not verdict.holds_for(before.attempt, generation) or verdict.size != 1 + has:
        return has
    return min(asked, max(has, verdict.nodes - 1))


def told(
    spec: NotebookRuntimeSpec,
    before: NotebookRuntimeStatus,
    made: JobChild | None,
    job: JobChild | None,
    pods: Sequence[PodChild],
    verdict: Verdict | None,
    look: Look | None,
    now: float,
) -> ClusterStatus | None:
    """Return what its status says of its cluster; None if it may have none.

    Args:
        spec: of the notebook.
        before: its status.
        made: its StatefulSet.
        job: that makes its further nodes.
        pods: of these, of the present start.
        verdict: admission's newest.
        look: newest at the head.
        now: seconds since the epoch.
    """
    has = held(before)
    if not spec.cluster.max_nodes and not has:
        return None
    known = before.cluster or ClusterStatus()
    message = ""
    if has < spec.cluster.nodes:
        message = obstacle(spec, made) or (verdict.message if verdict else known.message)
    elif job is not None:
        message = _trouble(before, job, pods, has, now)
    return ClusterStatus(
        nodes=has,
        ready=min(has, sum(pod.ready and not pod.meta.deleting for pod in pods)),
        message=message,
        dashboard_url=look.dashboard if look else known.dashboard_url,
    )


def _trouble(
    before: NotebookRuntimeStatus, job: JobChild, pods: Sequence[PodChild], nodes: int, now: float
) -> str:
    """Return what is in the way of nodes that it was given."""
    alive = [pod for pod in pods if not pod.terminal]
    search = starting.Search(math.inf, before.instance_family)
    found = starting.trouble(job, alive, nodes, search, math.inf)
    return f"{found.message}." if found and now >= found.shown else ""


def scaled(job: JobChild | None, nodes: int) -> tuple[Scale, ...]:
    """Return what gives its Job as many pods as its status says it has further nodes."""
    if job is None or job.ended or job.meta.deleting or not nodes or job.parallelism == nodes:
        return ()
    return (Scale(job.meta.namespace, job.meta.name, job.meta.uid, nodes),)


def surplus(jobs: Sequence[JobChild], current: JobChild | None, nodes: int) -> tuple[Delete, ...]:
    """Return deletions of the Jobs of earlier starts, of what has ended, and of the last node's.

    A Job of no pods at all would be complete, and make none any more.
    """
    return tuple(
        children.deletion(it)
        for it in jobs
        if not it.meta.deleting and (it is not current or not nodes or it.ended)
    )


def ends(jobs: Sequence[JobChild], pods: Sequence[PodChild], now: float) -> tuple[Delete, ...]:
    """Return deletions of its Jobs as it stops, of those whose pods are all known here."""
    mine = {job.meta.uid: [pod for pod in pods if pod.job == job.meta.uid] for job in jobs}
    return tuple(
        children.deletion(job)
        for job in jobs
        if not job.meta.deleting and stopping.may_be_deleted(job, mine[job.meta.uid], now)
    )
