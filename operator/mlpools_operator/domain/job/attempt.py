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
)
from mlpools_operator.domain.attempt.failures import Cause, Gravity
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.job import ends, provision
from mlpools_operator.domain.job.figures import Lack
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.job.status import Seen
from mlpools_operator.domain.job.step import Step
from mlpools_operator.domain.observed import JobChild, PodChild
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pods import injection
from mlpools_operator.domain.pool import families, half_gangs, holding
from mlpools_operator.domain.pool.half_gangs import HalfGang
from mlpools_operator.domain.pool.ledger import Verdict


def plan(step: Step, observed: Observed, defaults: Defaults) -> Plan:
    """Plan for a job that is admitted: see whether the attempt is over, else help it along."""
    name = naming.attempt_job(step.job.meta.name, step.attempt)
    uid = step.job.meta.uid
    job = next((it for it in observed.jobs if it.meta.name == name and it.meta.owner == uid), None)
    own = [pod for pod in observed.pods if pod.attempt == step.attempt]
    ending = step.kind.holding.judge(job, own, step.size, step.grace, step.now)
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
        return ends.fail(step, ends.obstacle("Preempted", f"its Job {name} was deleted"))
    if isinstance(ending, failures.Undecided):
        return Plan(status=step.draft.keep().plain(), requeue_after=ending.until - step.now)
    size = _size(step, job, own, observed)
    if size != step.size:
        lost = step.kind.holding.lost(step.draft.before, job)
        return Plan(status=step.draft.resized(step.spec, size, lost).plain(), requeue_after=0.0)
    if step.draft.running:
        made = _go_on(step, job, own, observed, defaults)
    else:
        made = _start(step, job, own, observed, defaults)
    left = stopping.seconds_left(step.spec, step.draft.held_seconds(step.spec))
    return made if left is None else _no_later_than(made, left)


def _size(step: Step, job: JobChild | None, own: Sequence[PodChild], observed: Observed) -> int:
    """Return how many nodes the attempt is to have: admission may give it more, or want some back."""
    wanted = step.kind.holding.wanted(step.draft.before, job, own, step.size)
    said = _verdict(step, observed)
    if wanted != step.size or said is None or not said.nodes or said.size != step.size:
        return wanted
    return said.nodes


def _verdict(step: Step, observed: Observed) -> Verdict | None:
    """Return what admission says of this attempt and spec, if it has."""
    verdict = observed.verdict
    return verdict if verdict and verdict.holds_for(step.attempt, step.job.meta.generation) else None


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
    held, said = step.draft.held_seconds(step.spec), _verdict(step, observed)
    return stopping.demand(step.spec, held, said, step.stop_all(observed.pool))


def _stop(step: Step, why: Stop, job: JobChild | None, own: Sequence[PodChild], observed: Observed) -> Plan:
    """Stop the attempt: first the status says why, then its Job goes, and last comes what follows."""
    draft = step.draft
    finals = reports.finals(pod.termination for pod in own)
    stopped_for = step.now - draft.stopping_since if draft.stop else 0.0
    if stopping.is_over(job, own, stopped_for=stopped_for, grace=step.grace):
        return ends.stop(step, _what_follows(step, why, observed), finals)
    status = draft.stops(why, finals).plain()
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
        return ends.fail(step, ends.obstacle("PodsRefused", f"the cluster refused it: {observed.refused}"))
    vital, needed = step.kind.holding.vital(own, step.size)
    if sum(pod.ready or pod.phase == "Succeeded" for pod in vital) == needed:
        return _go_on(step, job, own, observed, defaults)
    offer = _offer(observed, defaults)
    patience = float(step.spec.start_timeout_seconds)
    search = _search(step, offer)
    trouble = starting.trouble(job, vital, needed, search, patience) if job else None
    if trouble and step.now >= trouble.until:
        return ends.fail(step, _of_trouble(trouble), lack=_lack(step, trouble, offer))
    half = next((it for it in observed.half_gangs if it.uid == step.job.meta.uid), None)
    taker = half_gangs.makes_room_for(half, observed.half_gangs, step.now) if half else None
    if taker is not None:
        return ends.fail(step, ends.obstacle("Unschedulable", _making_room(taker, step, own, offer)))
    shown = trouble if trouble and step.now >= trouble.shown else None
    made = provision.plan(step, job, observed, defaults, step.draft.starting(step.spec, shown).plain())
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
    return starting.Search(seconds, step.draft.before.instance_family, step.avoided)


def _lack(step: Step, trouble: starting.Trouble, offer: ComputePoolSpec | None) -> Lack | None:
    """Return what an attempt that is given up found out about the pool's machines, if it did.

    A pod whose claim is absent says nothing about them: no machine whatever would do. Nor does one that
    avoids some of them: the next attempt asks for the same family and avoids none.
    """
    words = trouble.pod.unschedulable if trouble.pod else ""
    if (
        trouble.reason != "Unschedulable"
        or offer is None
        or step.avoided
        or scheduler_words.about_volumes(words)
    ):
        return None
    family = step.draft.before.instance_family
    said = scheduler_words.short(words) or "the scheduler found no machine in time"
    return Lack(family, families.following(offer, family), said)


def _go_on(
    step: Step, job: JobChild | None, own: Sequence[PodChild], observed: Observed, defaults: Defaults
) -> Plan:
    """Plan while the attempt works."""
    offer = _offer(observed, defaults)
    own_image = offer is not None and injection.is_needed(step.spec, offer, defaults)
    ready = step.kind.holding.ready(own, step.size)
    trouble = _missing(step, job, own, offer) if job and ready < step.size else None
    seen = Seen(
        ready=ready,
        trouble=trouble if trouble and step.now >= trouble.shown else None,
        report=observed.report,
        unheard=observed.unheard,
        bare=own_image and bool(step.kind.work(step.spec).bare),
        slow=reports.slow_rank(observed.report, step.attempt, own),
    )
    status = step.draft.run(step.spec, seen).plain()
    made = provision.plan(step, job, observed, defaults, status)
    return made if trouble is None or seen.trouble else _no_later_than(made, trouble.shown - step.now)


def _missing(
    step: Step, job: JobChild, own: Sequence[PodChild], offer: ComputePoolSpec | None
) -> starting.Trouble | None:
    """Return why some of its pods do not run, which the others need not wait for."""
    alive = [pod for pod in own if not pod.terminal]
    patience = float(step.spec.start_timeout_seconds)
    return starting.trouble(job, alive, step.size, _search(step, offer), patience)


def _of_trouble(trouble: starting.Trouble) -> Cause:
    cause = ends.obstacle(trouble.reason, trouble.message)
    pod = trouble.pod
    return replace(cause, rank=pod.rank, pod=pod.meta.name, node=pod.node) if pod else cause


def _no_later_than(plan: Plan, seconds: float) -> Plan:
    wait = max(0.0, seconds)
    return replace(plan, requeue_after=wait if plan.requeue_after is None else min(wait, plan.requeue_after))
