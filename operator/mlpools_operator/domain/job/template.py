"""A job with a schedule: it never runs, holds nothing, and makes runs of itself."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import JobSpec, JobStatus, Schedule
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.job.kind import AnyKind, RefusedError
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.job.status import Draft
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Delete, Event, Object, Plan
from mlpools_operator.domain.schedules import runs, stamping
from mlpools_operator.domain.schedules.runs import Decision, Hindrance, Run, Standing

#: What is in the way of a run is looked at again after this time.
_RETRY_SECONDS = 30.0
#: A clock that was put forward is noticed after this time.
_LOOK_SECONDS = 300.0


def is_template(job: Resource) -> bool:
    """Whether a job makes runs instead of running; what has started stays what it was."""
    return job.spec.get("schedule") is not None and not job.status.get("attempt")


def plan(kind: AnyKind, job: Resource, observed: Observed, now: float) -> Plan:
    """Plan the next writes for a template; equal arguments give equal plans."""
    draft = Draft(kind, job, now)
    try:
        spec = kind.check(job, False)
        assert spec.schedule is not None
        kind.check(_sample(kind, job, spec.schedule, now), False)
    except RefusedError as refused:
        event = Event("Warning", refused.reason, str(refused))
        return Plan(status=_refused(draft, refused, now).plain(), events=(event,))
    standing = _standing(job, observed, draft, spec, now)
    if spec.suspend:
        decision = runs.rest(spec.schedule, standing)
        status = _suspended(draft, decision, now)
    else:
        decision = runs.decide(spec.schedule, standing, now)
        status = _scheduled(draft, spec.schedule, decision, now)
    return Plan(
        delete=tuple(Delete(kind.name, job.meta.namespace, run.name, run.uid) for run in decision.delete),
        create=() if decision.start is None else (_run(kind, job, spec.schedule, decision.start),),
        status=status.plain(),
        events=decision.events,
        requeue_after=_wait(decision, now),
    )


def _standing(job: Resource, observed: Observed, draft: Draft, spec: JobSpec, now: float) -> Standing:
    return Standing(
        name=job.meta.name,
        since=job.meta.created if not job.status else now,
        past=draft.before.schedule,
        resumed=draft.rests and not spec.suspend,
        runs=[_made(it, Draft(draft.kind, it, now).ended) for it in observed.runs],
        hindrance=_hindrance(draft.kind, observed),
    )


def _made(run: Resource, over: bool) -> Run:
    return Run(run.meta.name, run.meta.uid, run.meta.created, over, run.meta.deleting)


def _hindrance(kind: AnyKind, observed: Observed) -> Hindrance | None:
    if observed.foreign:
        name = observed.foreign[0].meta.name
        return Hindrance(
            "NameConflict",
            f"The run that is due cannot be made: there is a {kind.name} {name} already, which is no run of "
            "this schedule. Delete or rename that one.",
        )
    if observed.refused:
        return Hindrance("RunRefused", f"The API server refuses the run that is due: {observed.refused}")
    return None


def _sample(kind: AnyKind, job: Resource, wanted: Schedule, now: float) -> Resource:
    """Return a run as it could be made now: what is wrong with it is said before any is due."""
    return Resource(job.meta, _run(kind, job, wanted, now)["spec"])


def _run(kind: AnyKind, job: Resource, wanted: Schedule, due: float) -> Object:
    return stamping.run(
        job,
        kind.name,
        naming.run(job.meta.name, due),
        runs.timetable(wanted).local(due),
        reads=kind.reads,
        writes=kind.writes,
    )


def _wait(decision: Decision, now: float) -> float | None:
    if decision.hindrance is not None:
        return _RETRY_SECONDS
    if decision.status.next is None:
        return None
    return min(max(0.0, times.seconds(decision.status.next) - now), _LOOK_SECONDS)


def _scheduled(draft: Draft, wanted: Schedule, decision: Decision, now: float) -> JobStatus:
    table = runs.timetable(wanted)
    upcoming = times.seconds(decision.status.next)
    reason = f"Next {table.local(upcoming):%Y-%m-%d %H:%M}"
    conditions = ConditionList(draft.before.conditions, now)
    if decision.hindrance is None:
        conditions.set("Scheduled", True, "Scheduled", f"The next run is due at {table.words(upcoming)}.")
    else:
        reason = decision.hindrance.reason
        conditions.set("Scheduled", False, reason, decision.hindrance.message)
    conditions.set("Ready", True, "Scheduled", "The schedule is in order.")
    return draft.template("Scheduled", reason, conditions, decision.status)


def _suspended(draft: Draft, decision: Decision, now: float) -> JobStatus:
    message = "It is suspended (spec.suspend) and starts no runs; set suspend to false to let it go on."
    conditions = ConditionList(draft.before.conditions, now).set("Scheduled", False, "Suspended", message)
    conditions.set("Suspended", True, "Suspended", message).set("Ready", True, "Suspended", message)
    return draft.template("Suspended", "Suspended", conditions, decision.status)


def _refused(draft: Draft, refused: RefusedError, now: float) -> JobStatus:
    """Nothing is started as long as the spec is like this; unlike a job's end this is not final."""
    conditions = ConditionList(draft.before.conditions, now)
    for name, holds in (("Scheduled", False), ("Ready", False), ("Stalled", True)):
        conditions.set(name, holds, refused.reason, str(refused))
    told = draft.before.schedule
    told = told.model_copy(update={"next": None}) if told else None
    return draft.template("Failed", refused.reason, conditions, told)
