"""A TrainingJob: waiting for nodes, then one attempt after the other until it is done or cannot be.

A pass reads the job's status and what is there, and says what to write next. It admits, or applies, or
tells: a pass that admits writes only the status, so a crash in between can neither lose nor double a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import InvalidSpec, TrainingJobSpec
from mlpools_operator.domain import paused, times
from mlpools_operator.domain.attempt import children, half_gang, stopping, stranded
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import JobChild, PodChild, Resource
from mlpools_operator.domain.plan import Delete, Event, Plan
from mlpools_operator.domain.pool import capacity, families, holding
from mlpools_operator.domain.pool.capacity import Finding
from mlpools_operator.domain.pool.half_gangs import HalfGang
from mlpools_operator.domain.pool.ledger import Brings, Candidate, Verdict
from mlpools_operator.domain.queue import places
from mlpools_operator.domain.training import attempt, ends, expiry, preflight, template
from mlpools_operator.domain.training.observed import KIND, Observed
from mlpools_operator.domain.training.status import Draft
from mlpools_operator.domain.training.step import Step

__all__ = ["KIND", "Observed", "candidate", "plan"]

_NO_VERDICT = Verdict(False)
#: Verdicts that end a job at the first look, since it was made for another pool than this one; and the reason
#: for which it waits at a later look: its pool has changed, and may change back.
_MISTAKES = {"TooLarge": "TooLarge", "InvalidSpec": "PoolNotAllowed", "PackageNotAllowed": "PoolNotAllowed"}
#: Reasons of a job that no pool has looked at yet.
_BEFORE_THE_FIRST_LOOK = ("", "PoolNotFound", "PoolSuspended", "PoolResuming")


def candidate(
    job: Resource, jobs: Sequence[JobChild], pods: Sequence[PodChild], now: float
) -> Candidate | None:
    """Return the job as admission sees it; None if it holds no node and asks for none.

    Args:
        job: the TrainingJob.
        jobs: its Jobs.
        pods: its pods.
        now: seconds since the epoch.
    """
    if template.is_template(job):
        return None
    draft = Draft(job, now)
    before = draft.before
    owned = [child for child in jobs if child.meta.owner == job.meta.uid]
    held = holding.nodes_of(owned, pods)
    blank = Candidate(
        uid=job.meta.uid,
        kind=KIND,
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
        spec = preflight.check(job, started=before.attempt > 0)
    except preflight.RefusedError:
        over = True
    if over:
        return blank if held else None
    progress = before.progress
    left_alone = paused.asked(job.meta)
    blocked = "" if draft.admitted else paused.CONDITION if left_alone else _blocked(draft, spec)
    return replace(
        blank,
        nodes=spec.nodes,
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
        finding=_finding(draft, spec.nodes, pods),
        fabric=before.fabric,
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


def _finding(draft: Draft, nodes: int, pods: Sequence[PodChild]) -> Finding | None:
    """Return what the job's newest attempt that looked for machines found."""
    before = draft.before
    placed = [pod.scheduled for pod in pods if pod.attempt == before.attempt and pod.scheduled]
    if draft.admitted and len(placed) >= nodes:
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


def _held(draft: Draft, spec: TrainingJobSpec, jobs: Sequence[JobChild], pods: Sequence[PodChild]) -> int:
    """Return the nodes that an admitted job keeps from others.

    While its attempt has no Job, not yet or not any more, it keeps what it was admitted for: pods may come,
    or the last of them may still end, and the status will say when they have.
    """
    held = holding.nodes_of(jobs, pods)
    attempt = draft.before.attempt
    if any(job.attempt == attempt and not job.meta.deleting for job in jobs):
        return held
    own = sum(pod.attempt == attempt and not pod.terminal for pod in pods)
    return held + max(0, spec.nodes - own)


def _blocked(draft: Draft, spec: TrainingJobSpec) -> str:
    stop = stopping.demand(spec, draft.held_seconds(spec))
    return stop.reason if stop else ""


def plan(job: Resource, observed: Observed, now: float, defaults: Defaults) -> Plan:
    """Plan the next writes for a job; equal arguments give equal plans."""
    draft = Draft(job, now)
    if job.meta.deleting:
        return Plan()
    if paused.asked(job.meta):
        made = Plan(status=draft.paused().plain())
    elif draft.ended:
        made = expiry.plan(job, observed, draft, now)
    elif template.is_template(job):
        made = template.plan(job, observed, now)
    else:
        made = _plan_living(job, observed, draft, now, defaults)
    return replace(made, status=None) if made.status == job.status else made


def _plan_living(job: Resource, observed: Observed, draft: Draft, now: float, defaults: Defaults) -> Plan:
    """Plan for a job that has not ended."""
    try:
        spec = preflight.check(job, started=draft.before.attempt > 0)
    except preflight.RefusedError as refused:
        stop = children.without_permission(job.meta, observed.jobs, observed.pods)
        event = Event("Warning", refused.reason, str(refused))
        status = draft.fail(None, refused.reason, str(refused))
        return Plan(delete=stop, status=status.plain(), events=(event,))
    step = Step(job, spec, draft, now)
    planned = attempt.plan if draft.admitted else _plan_waiting
    made = planned(step, observed, defaults)
    again = times.earliest(made.requeue_after, step.until_stop_all(observed.pool))
    return replace(made, requeue_after=again)


def _plan_waiting(step: Step, observed: Observed, defaults: Defaults) -> Plan:
    """Plan for a job that holds no nodes."""
    job, spec, draft = step.job, step.spec, step.draft
    stop = children.without_permission(job.meta, observed.jobs, observed.pods)
    why = stopping.demand(spec, draft.held_seconds(spec), stop_all=step.stop_all(observed.pool))
    if why is not None:
        return ends.stop(step, why, not_before=draft.not_before, delete=stop)
    if draft.rests:
        return ends.stop(step, stopping.RESUMED, not_before=draft.not_before, delete=stop)
    if draft.not_before > step.now:
        return Plan(delete=stop, status=draft.keep().plain(), requeue_after=draft.not_before - step.now)
    if observed.pool is None:
        message = (
            f"There is no pool {spec.compute_pool}. The job starts when there is one: "
            "ask your administrator for it, or make a job with another computePool."
        )
        status = draft.queued(spec, "PoolNotFound", message, _NO_VERDICT)
        return Plan(delete=stop, status=status.plain())
    verdict = observed.verdict
    if verdict is None or not verdict.holds_for(draft.before.attempt + 1, job.meta.generation):
        return Plan(delete=stop, status=draft.keep().plain() if job.status else None)
    if verdict.admit:
        return _admit(step, observed.pool, defaults, stop)
    if verdict.reason in _MISTAKES and draft.before.reason in _BEFORE_THE_FIRST_LOOK:
        event = Event("Warning", verdict.reason, verdict.message)
        return Plan(status=draft.fail(spec, verdict.reason, verdict.message).plain(), events=(event,))
    reason = _MISTAKES.get(verdict.reason, verdict.reason)
    wait = places.stands_for(draft.before.queue, draft.place(reason, verdict.message, verdict), step.now)
    if wait:
        return Plan(delete=stop, status=draft.keep().plain(), requeue_after=wait)
    status = draft.queued(spec, reason, verdict.message, verdict)
    return Plan(delete=stop, status=status.plain())


def _admit(step: Step, pool: Resource, defaults: Defaults, stop: Sequence[Delete]) -> Plan:
    """Plan for a job that gets its nodes; a pool that became unusable meanwhile will say why it is closed."""
    try:
        offer = families.read(pool.spec, defaults.families)
    except InvalidSpec:
        return Plan(delete=tuple(stop), status=step.draft.keep().plain())
    in_use = str(pool.status.get("instanceFamily", ""))
    status = step.draft.admit(step.spec, capacity.begin_with(offer, step.draft.before, in_use, step.now))
    return Plan(delete=tuple(stop), status=status.plain(), requeue_after=0.0)
