"""A job as admission sees it: what it holds, what it asks for, and what is to be known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import FabricCheck, JobSpec
from mlpools_operator.domain import paused, times
from mlpools_operator.domain.attempt import half_gang, stopping, stranded
from mlpools_operator.domain.job import template
from mlpools_operator.domain.job.kind import AnyKind, RefusedError
from mlpools_operator.domain.job.status import Draft
from mlpools_operator.domain.observed import JobChild, PodChild, Resource
from mlpools_operator.domain.pool import holding
from mlpools_operator.domain.pool.capacity import Finding
from mlpools_operator.domain.pool.half_gangs import HalfGang
from mlpools_operator.domain.pool.ledger import Brings, Candidate

#: A pool looks at its jobs far more often than that.
_NEWS_SECONDS = 60.0


def candidate(
    kind: AnyKind, job: Resource, jobs: Sequence[JobChild], pods: Sequence[PodChild], now: float
) -> Candidate | None:
    """Return the job as admission sees it; None if it holds no node and asks for none.

    Args:
        kind: of the job.
        job: as it stands.
        jobs: its Jobs.
        pods: its pods.
        now: seconds since the epoch.
    """
    if template.is_template(job):
        return None
    draft = Draft(kind, job, now)
    before = draft.before
    owned = [child for child in jobs if child.meta.owner == job.meta.uid]
    held = holding.nodes_of(owned, pods)
    blank = Candidate(
        uid=job.meta.uid,
        kind=kind.name,
        namespace=job.meta.namespace,
        name=job.meta.name,
        nodes=0,
        priority=0,
        created=job.meta.created,
        held=held,
        pods=holding.living(pods),
        ending=stranded.look(pods),
        attempt=before.attempt + (not draft.admitted),
        generation=job.meta.generation,
        blocked="Ended",
    )
    over = draft.ended or job.meta.deleting
    try:
        spec = kind.check(job, before.attempt > 0)
    except RefusedError:
        over = True
    if over:
        fabric = _last_check(draft, now)
        return replace(blank, fabric=fabric) if held or fabric else None
    progress = before.progress
    left_alone = paused.asked(job.meta)
    blocked = "" if draft.admitted else paused.CONDITION if left_alone else _blocked(draft, spec)
    return replace(
        blank,
        nodes=kind.holding.asks(spec),
        most=_most(draft, spec),
        size=draft.size(spec) if draft.admitted else 0,
        priority=spec.priority,
        held=_held(draft, spec, owned, pods) if draft.admitted else held,
        admitted=draft.admitted,
        not_before=0.0 if draft.admitted else draft.not_before,
        admitted_at=draft.admitted_at if draft.admitted else 0.0,
        stopping=draft.stop is not None,
        shown_ahead=before.queue.ahead if before.queue else 0,
        preemptible=not left_alone,
        blocked=blocked,
        freed=tuple(sorted(it.finished for it in pods if it.attempt == before.attempt and it.finished)),
        finding=_finding(draft, spec, pods),
        fabric=kind.account.network(before),
        brings=Brings(
            image=spec.runtime.image or "",
            volumes=tuple(volume.name for volume in spec.volumes),
            mounts=tuple(mount.mount_path for mount in spec.volume_mounts),
            packages=spec.runtime.packages,
        ),
        half=_half(job, draft, owned, pods),
        percent=progress.percent if progress else None,
        eta_seconds=progress.eta_seconds if progress else None,
    )


def _last_check(draft: Draft, now: float) -> FabricCheck | None:
    """Return what a job that has ended found out about its network, while that may be news to its pool."""
    check = draft.kind.account.network(draft.before)
    return check if check and now - times.seconds(check.time) < _NEWS_SECONDS else None


def _most(draft: Draft, spec: JobSpec) -> int:
    """Return the most nodes that it can use now; 0 if it never has others than it asks for."""
    shape = draft.kind.holding
    if shape.uses(draft.before, spec, None) == shape.asks(spec):
        return 0
    return int(shape.uses(draft.before, spec, draft.kind.account.useful(draft.before, spec)))


def _finding(draft: Draft, spec: JobSpec, pods: Sequence[PodChild]) -> Finding | None:
    """Return what the job's newest attempt that looked for machines found."""
    before = draft.before
    placed = [pod.scheduled for pod in pods if pod.attempt == before.attempt and pod.scheduled]
    if draft.admitted and len(placed) >= draft.size(spec):
        return Finding(before.instance_family, max(placed))
    lack = before.lacked_capacity
    if lack is None:
        return None
    return Finding(lack.instance_family, times.seconds(lack.time), lack.message)


def _half(job: Resource, draft: Draft, jobs: Sequence[JobChild], pods: Sequence[PodChild]) -> HalfGang | None:
    """Return how the present attempt stands if it has machines for some of its pods only."""
    attempt = draft.before.attempt
    made = next((it for it in jobs if it.attempt == attempt and not it.meta.deleting), None)
    if made is None or not draft.admitted or draft.stop is not None:
        return None
    return half_gang.look(job, made, [pod for pod in pods if pod.attempt == attempt], draft.admitted_at)


def _held(draft: Draft, spec: JobSpec, jobs: Sequence[JobChild], pods: Sequence[PodChild]) -> int:
    """Return the nodes that an admitted job keeps from others.

    While its attempt has no Job, not yet or not any more, it keeps what it was admitted for: pods may come,
    or the last of them may still end, and the status will say when they have.
    """
    attempt = draft.before.attempt
    own = [pod for pod in pods if pod.attempt == attempt]
    made = [job for job in jobs if job.attempt == attempt and not job.meta.deleting]
    kept = draft.kind.holding.keeps(draft.before, spec, made=bool(made))
    return holding.nodes_of(jobs, pods) + max(0, kept - holding.nodes_of(made, own))


def _blocked(draft: Draft, spec: JobSpec) -> str:
    stop = stopping.demand(spec, draft.held_seconds(spec))
    return stop.reason if stop else ""
