"""One attempt of a job, from its admission to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InvalidSpec
from mlpools_operator.domain import naming
from mlpools_operator.domain.attempt import (
    children,
    failures,
    reports,
    scheduler_words,
    starting,
    stopping,
    suspects,
)
from mlpools_operator.domain.attempt.failures import Cause, Gravity
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import JobChild, PodChild
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pods import indexed_job, network, network_profiles
from mlpools_operator.domain.pool import families, half_gangs, holding
from mlpools_operator.domain.pool.half_gangs import HalfGang
from mlpools_operator.domain.training import ends
from mlpools_operator.domain.training.figures import Lack
from mlpools_operator.domain.training.observed import KIND, Observed
from mlpools_operator.domain.training.step import Step


def plan(step: Step, observed: Observed, defaults: Defaults) -> Plan:
    """Plan for a job that is admitted: see whether the attempt is over, else help it along."""
    name = naming.attempt_job(step.job.meta.name, step.attempt)
    uid = step.job.meta.uid
    job = next((it for it in observed.jobs if it.meta.name == name and it.meta.owner == uid), None)
    own = [pod for pod in observed.pods if pod.attempt == step.attempt]
    ending = failures.judge(job, own, step.spec.nodes, step.grace, step.now)
    if isinstance(ending, failures.Succeeded):
        return ends.complete(step, ending)
    told = step.draft.stop
    if told is not None:
        return _stop(step, told, job, own, observed)
    if isinstance(ending, failures.Failed):
        cause = _with_memory(step, ending.cause, observed)
        return ends.fail(step, cause, ending.causes)
    wanted = _demand(step, observed)
    if wanted is not None:
        return _stop(step, wanted, job, own, observed)
    if _was_removed(step, job, own):
        return ends.fail(step, _obstacle("Preempted", f"its Job {name} was deleted"))
    if isinstance(ending, failures.Undecided):
        return Plan(status=step.draft.keep().plain(), requeue_after=ending.until - step.now)
    if step.draft.running:
        made = _go_on(step, job, observed, defaults)
    else:
        made = _start(step, job, own, observed, defaults)
    left = stopping.seconds_left(step.spec, step.draft.held_seconds(step.spec))
    return made if left is None else _no_later_than(made, left)


def _was_removed(step: Step, job: JobChild | None, own: Sequence[PodChild]) -> bool:
    """Whether somebody deleted the attempt's Job; before its first pod it is simply made again."""
    return (job is None or job.meta.deleting) and (bool(own) or step.draft.running)


def _with_memory(step: Step, cause: Cause, observed: Observed) -> Cause:
    """Add to an out-of-memory kill what was in use before: who is killed cannot say it."""
    if cause.gravity is not Gravity.MEMORY:
        return cause
    return replace(cause, message=cause.message + reports.memory_seen(observed.report, step.attempt))


def _demand(step: Step, observed: Observed) -> Stop | None:
    """Return why the attempt has to stop, if it has to."""
    verdict = observed.verdict
    mine = verdict if verdict and verdict.holds_for(step.attempt, step.job.meta.generation) else None
    return stopping.demand(step.spec, step.draft.held_seconds(step.spec), mine, step.stop_all(observed.pool))


def _stop(step: Step, why: Stop, job: JobChild | None, own: Sequence[PodChild], observed: Observed) -> Plan:
    """Stop the attempt: first the status says why, then its Job goes, and last comes what follows."""
    draft = step.draft
    saved = reports.newest_checkpoint(pod.termination for pod in own)
    stopped_for = step.now - draft.stopping_since if draft.stop else 0.0
    if stopping.is_over(job, own, stopped_for=stopped_for, grace=step.grace):
        return ends.stop(step, _what_follows(step, why, observed), saved)
    status = draft.stops(why, saved).plain()
    if job is None or job.meta.deleting:
        overdue = step.grace + holding.KILL_SECONDS - stopped_for
        return Plan(status=status, requeue_after=max(0.0, overdue))
    if draft.stop is None:
        return Plan(status=status, requeue_after=0.0)
    if not stopping.may_be_deleted(job, own, step.now):
        return Plan(status=status, requeue_after=job.meta.created + stopping.NEWS_SECONDS - step.now)
    return Plan(delete=(children.deletion(job),), status=status, requeue_after=step.grace)


def _what_follows(step: Step, why: Stop, observed: Observed) -> Stop:
    """Return what a stopped job does next, since its author may have changed his mind meanwhile."""
    wanted = _demand(step, observed)
    if why.final:
        return why
    if wanted is not None:
        return wanted
    if why.reason == stopping.SUSPENDED:
        return stopping.RESUMED
    return why


def _start(
    step: Step, job: JobChild | None, own: Sequence[PodChild], observed: Observed, defaults: Defaults
) -> Plan:
    """Plan while not all pods run."""
    if observed.refused:
        return ends.fail(step, _obstacle("PodsRefused", f"the cluster refused it: {observed.refused}"))
    if sum(pod.ready or pod.phase == "Succeeded" for pod in own) == step.spec.nodes:
        return _go_on(step, job, observed, defaults)
    offer = _offer(observed, defaults)
    patience = float(step.spec.start_timeout_seconds)
    search = _search(step, offer)
    trouble = starting.trouble(job, own, step.spec.nodes, search, patience) if job else None
    if trouble and step.now >= trouble.until:
        return ends.fail(step, _of_trouble(trouble), lack=_lack(step, trouble, offer))
    half = next((it for it in observed.half_gangs if it.uid == step.job.meta.uid), None)
    taker = half_gangs.makes_room_for(half, observed.half_gangs, step.now) if half else None
    if taker is not None:
        return ends.fail(step, _obstacle("Unschedulable", _making_room(taker, step, own, offer)))
    shown = trouble if trouble and step.now >= trouble.shown else None
    made = _with_children(step, job, observed, defaults, step.draft.starting(step.spec, shown).plain())
    if trouble is not None:
        made = _no_later_than(made, (trouble.until if shown else trouble.shown) - step.now)
    return _no_later_than(made, half_gangs.LOOK_SECONDS) if half else made


def _making_room(taker: HalfGang, step: Step, own: Sequence[PodChild], offer: ComputePoolSpec | None) -> str:
    """Say for whom it gives back what it has; another namespace's job is named if the pool names such."""
    told = offer is not None and offer.queue.disclose == "Names" and taker.pool == step.spec.compute_pool
    if taker.namespace == step.job.meta.namespace:
        who = f"{taker.name} (pool {taker.pool})"
    elif told:
        who = f"{taker.name} ({taker.namespace})"
    else:
        who = f"a job of another namespace (pool {taker.pool})"
    left, seconds = sum(not pod.node for pod in own), half_gangs.STUCK_SECONDS
    return (
        f"No machine for {left} of {len(own)} pods, and none came for {seconds:.0f} s. "
        f"It makes room for {who}, which was admitted before it and lacks machines too"
    )


def _offer(observed: Observed, defaults: Defaults) -> ComputePoolSpec | None:
    """Return what the pool offers, None if it offers nothing any more."""
    try:
        return families.read(observed.pool.spec, defaults.families) if observed.pool else None
    except InvalidSpec:
        return None


def _search(step: Step, offer: ComputePoolSpec | None) -> starting.Search:
    seconds = offer.capacity_timeout_seconds if offer else starting.MAKE_SECONDS
    return starting.Search(seconds, step.draft.before.instance_family, _avoided(step))


def _avoided(step: Step) -> tuple[str, ...]:
    return suspects.avoided(step.draft.before.suspect_nodes)


def _lack(step: Step, trouble: starting.Trouble, offer: ComputePoolSpec | None) -> Lack | None:
    """Return what an attempt that is given up found out about the pool's machines, if it did.

    A pod whose claim is absent says nothing about them: no machine whatever would do. Nor does one that
    avoids some of them: the next attempt asks for the same family and avoids none.
    """
    words = trouble.pod.unschedulable if trouble.pod else ""
    if (
        trouble.reason != "Unschedulable"
        or offer is None
        or _avoided(step)
        or scheduler_words.about_volumes(words)
    ):
        return None
    family = step.draft.before.instance_family
    said = scheduler_words.short(words) or "the scheduler found no machine in time"
    return Lack(family, families.following(offer, family), said)


def _go_on(step: Step, job: JobChild | None, observed: Observed, defaults: Defaults) -> Plan:
    """Plan while all pods run."""
    status = step.draft.run(step.spec, observed.report).plain()
    return _with_children(step, job, observed, defaults, status)


def _with_children(
    step: Step, job: JobChild | None, observed: Observed, defaults: Defaults, status: dict[str, object]
) -> Plan:
    """Return the plan with that status, and with what the attempt still needs."""
    if observed.pool is None:
        # Running attempts need no pool any more; one without a Job cannot be built without it.
        if job:
            return Plan(status=status)
        words = f"pool {step.spec.compute_pool} was deleted before its pods were made"
        return ends.fail(step, _obstacle("PoolNotFound", words))
    try:
        pool = families.read(observed.pool.spec, defaults.families)
        family = families.find(pool, step.draft.before.instance_family, defaults.families)
    except InvalidSpec as error:
        return Plan(status=status) if job else ends.fail(step, _obstacle("PoolNotFound", str(error)))
    owner, name = step.job, step.spec.compute_pool
    made = children.steps(
        owner,
        network.children(KIND, owner, name, defaults, isolated=_isolated(job, pool)),
        indexed_job.indexed_job(KIND, owner, step.spec, pool, family, step.attempt, defaults, _avoided(step)),
        (*observed.children, *observed.foreign),
        observed.jobs,
        observed.pods,
        admitted_for=step.now - step.draft.admitted_at,
        grace=step.grace,
    )
    if made.conflict is not None and step.draft.running:
        return Plan(status=status)  # a gang that has found itself needs no names any more
    if made.conflict is not None:
        taken = made.conflict
        words = (
            f"a {taken.kind} named {taken.meta.name} is there that is not this job's; "
            "delete it, or give the job another name"
        )
        return ends.fail(step, _obstacle("NameConflict", words))
    return Plan(made.delete, made.apply, made.create, status, requeue_after=made.look_after)


def _isolated(job: JobChild | None, pool: ComputePoolSpec) -> bool:
    """Whether the attempt has a NetworkPolicy: what its pool said when its Job was made holds to its end."""
    if job is None:
        return network_profiles.is_isolated(pool.network)
    return job.meta.annotations.get(naming.ISOLATION) != "false"


def _of_trouble(trouble: starting.Trouble) -> Cause:
    cause = _obstacle(trouble.reason, trouble.message)
    pod = trouble.pod
    return replace(cause, rank=pod.rank, pod=pod.meta.name, node=pod.node) if pod else cause


def _obstacle(reason: str, message: str) -> Cause:
    return Cause(Gravity.CODE, reason, message)


def _no_later_than(plan: Plan, seconds: float) -> Plan:
    wait = max(0.0, seconds)
    return replace(plan, requeue_after=wait if plan.requeue_after is None else min(wait, plan.requeue_after))
