"""How an attempt ends, and what follows: the status that says so, and the Event that tells it."""

from __future__ import annotations

from collections.abc import Sequence

from mlpools.contract.ends import Final
from mlpools_operator.domain import wording
from mlpools_operator.domain.attempt import outcome_words, retries, stopping, suspects
from mlpools_operator.domain.attempt.failures import Cause, Gravity, Succeeded
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.job.figures import Lack
from mlpools_operator.domain.job.step import Step
from mlpools_operator.domain.plan import Delete, Event, Plan

_EVENT_BYTES = 1000


def obstacle(reason: str, message: str) -> Cause:
    """Return what ends an attempt without any fault of its pods."""
    return Cause(Gravity.CODE, reason, message)


def complete(step: Step, ending: Succeeded) -> Plan:
    """The job is done."""
    message = step.kind.words.success(ending.final, step.spec, step.size, step.attempt)
    status = step.draft.complete(step.spec, ending.final, message)
    return Plan(
        status=status.plain(), events=(Event("Normal", "Complete", wording.fit(message, _EVENT_BYTES)),)
    )


def fail(step: Step, cause: Cause, causes: Sequence[Cause] = (), lack: Lack | None = None) -> Plan:
    """End the attempt; what is left of its pods goes in the next pass, when the status tells why."""
    before = step.draft.before
    after = retries.after(
        cause.reason,
        step.kind.rule(cause.reason),
        attempt=step.attempt,
        restarts=before.restarts,
        max_restarts=step.spec.max_restarts,
        base=float(step.spec.restart_backoff_seconds),
        ran=step.now - step.draft.admitted_at if step.draft.running else 0.0,
        spread=retries.spread(step.job.meta.uid, step.attempt),
    )
    finals = tuple(it.final for it in causes if it.final)
    resumes = step.kind.words.resumes(before, finals)
    message = outcome_words.failure(cause, step.spec, step.attempt, after, resumes)
    if after.retry:
        message += _elsewhere(step, cause, lack)
        status = step.draft.again(step.spec, cause, message, after, causes, lack)
    else:
        status = step.draft.fail(step.spec, after.reason, message, causes)
    event = Event("Warning", after.reason, wording.fit(message, _EVENT_BYTES))
    return Plan(status=status.plain(), events=(event,), requeue_after=0.0 if after.retry else None)


def _elsewhere(step: Step, cause: Cause, lack: Lack | None) -> str:
    """Return a sentence about the machines of the next attempt, if they are others."""
    if lack and lack.following != lack.family:
        return f" Then it asks for machines of family {lack.following}."
    known = step.draft.before.suspect_nodes
    before, then = suspects.avoided(known), suspects.avoided(suspects.after(known, cause))
    if before and not then:
        return " Then it avoids no machine."
    return f" It avoids {cause.node} from now on." if set(then) - set(before) else ""


def stop(
    step: Step,
    why: Stop,
    finals: Sequence[Final] = (),
    not_before: float = 0.0,
    delete: tuple[Delete, ...] = (),
) -> Plan:
    """The job holds no node any more, or never did: it rests, ends, or queues again.

    Args:
        step: the pass.
        why: it was stopped.
        finals: last words of its pods.
        not_before: end of a back-off that goes on meanwhile.
        delete: what is still there of it.
    """
    draft, spec = step.draft, step.spec
    event = Event("Normal", why.reason, wording.fit(why.message, _EVENT_BYTES))
    if why.reason == stopping.CANCELLED:
        status = draft.cancelled(spec, why, finals)
    elif why.reason == stopping.DEADLINE_EXCEEDED:
        status = draft.fail(spec, why.reason, why.message, finals=finals)
        event = Event("Warning", why.reason, event.message)
    elif why.reason == stopping.SUSPENDED:
        status = draft.suspended(spec, why, finals, not_before)
    else:
        status = draft.requeued(spec, why, finals, not_before)
    told = draft.rests and why.reason == stopping.SUSPENDED
    return Plan(delete=delete, status=status.plain(), events=() if told else (event,))
