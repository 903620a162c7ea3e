"""Whether an attempt has machines for some of its pods only."""

from __future__ import annotations

from collections.abc import Sequence

from mlpools_operator.domain.attempt import scheduler_words
from mlpools_operator.domain.observed import JobChild, PodChild, Resource
from mlpools_operator.domain.pool.half_gangs import HalfGang


def look(owner: Resource, job: JobChild, pods: Sequence[PodChild], admitted_at: float) -> HalfGang | None:
    """Return the half gang that an attempt is; None if all or none of its pods have a machine, or one ended.

    Args:
        owner: of the attempt.
        job: of the attempt.
        pods: of the attempt.
        admitted_at: when the attempt was.
    """
    placed = [pod for pod in pods if pod.node]
    left = [pod for pod in pods if not pod.node and pod.unschedulable]
    if not placed or not left or any(pod.terminal for pod in pods):
        return None
    return HalfGang(
        uid=owner.meta.uid,
        namespace=owner.meta.namespace,
        name=owner.meta.name,
        pool=str(owner.spec.get("computePool", "")),
        admitted_at=admitted_at,
        since=max(pod.scheduled or pod.meta.created for pod in placed),
        lacks_room=any(scheduler_words.about_room(pod.unschedulable) for pod in left),
        machines=frozenset(pod.node for pod in placed),
        selector=job.selector,
        devices=job.devices,
    )
