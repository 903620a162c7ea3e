"""A job: waiting for nodes, then one attempt after the other until it is done or cannot be.

A pass reads the job's status and what is there, and says what to write next. It admits, or applies, or
tells: a pass that admits writes only the status, so a crash in between can neither lose nor double a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import InvalidSpec
from mlpools_operator.domain import paused, times
from mlpools_operator.domain.attempt import children, stopping
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.job import attempt, ends, expiry, template
from mlpools_operator.domain.job.kind import AnyKind, RefusedError
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.job.status import Draft
from mlpools_operator.domain.job.step import Step
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Delete, Event, Plan
from mlpools_operator.domain.pool import capacity, families
from mlpools_operator.domain.pool.ledger import Verdict
from mlpools_operator.domain.queue import places

_NO_VERDICT = Verdict(False)
#: Verdicts that end a job at the first look, since it was made for another pool than this one; and the reason
#: for which it waits at a later look: its pool has changed, and may change back.
_MISTAKES = {"TooLarge": "TooLarge", "InvalidSpec": "PoolNotAllowed", "PackageNotAllowed": "PoolNotAllowed"}
#: Reasons of a job that no pool has looked at yet.
_BEFORE_THE_FIRST_LOOK = ("", "PoolNotFound", "PoolSuspended", "PoolResuming")


def plan(kind: AnyKind, job: Resource, observed: Observed, now: float, defaults: Defaults) -> Plan:
    """Plan the next writes for a job; equal arguments give equal plans."""
    draft = Draft(kind, job, now)
    if job.meta.deleting:
        return Plan()
    if paused.asked(job.meta):
        made = Plan(status=draft.paused().plain())
    elif draft.ended:
        made = expiry.plan(job, observed, draft, now)
    elif template.is_template(job):
        made = template.plan(kind, job, observed, now)
    else:
        made = _plan_living(job, observed, draft, now, defaults)
    return replace(made, status=None) if made.status == job.status else made


def _plan_living(job: Resource, observed: Observed, draft: Draft, now: float, defaults: Defaults) -> Plan:
    """Plan for a job that has not ended."""
    try:
        spec = draft.kind.check(job, draft.before.attempt > 0)
    except RefusedError as refused:
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
        return _admit(step, observed.pool, verdict, defaults, stop)
    if verdict.reason in _MISTAKES and draft.before.reason in _BEFORE_THE_FIRST_LOOK:
        event = Event("Warning", verdict.reason, verdict.message)
        return Plan(status=draft.fail(spec, verdict.reason, verdict.message).plain(), events=(event,))
    reason = _MISTAKES.get(verdict.reason, verdict.reason)
    wait = places.stands_for(draft.before.queue, draft.place(reason, verdict.message, verdict), step.now)
    if wait:
        return Plan(delete=stop, status=draft.keep().plain(), requeue_after=wait)
    status = draft.queued(spec, reason, verdict.message, verdict)
    return Plan(delete=stop, status=status.plain())


def _admit(step: Step, pool: Resource, verdict: Verdict, defaults: Defaults, stop: Sequence[Delete]) -> Plan:
    """Plan for a job that gets its nodes; a pool that became unusable meanwhile will say why it is closed."""
    try:
        offer = families.read(pool.spec, defaults.families)
    except InvalidSpec:
        return Plan(delete=tuple(stop), status=step.draft.keep().plain())
    in_use = str(pool.status.get("instanceFamily", ""))
    family = capacity.begin_with(offer, step.draft.before, in_use, step.now)
    status = step.draft.admit(step.spec, family, verdict.nodes or step.kind.holding.asks(step.spec))
    return Plan(delete=tuple(stop), status=status.plain(), requeue_after=0.0)
