"""A TrainingJob with a schedule: it never runs, holds nothing, and makes runs of itself."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import Schedule, ScheduleStatus, TrainingJobSpec, TrainingJobStatus
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Delete, Event, Object, Plan
from mlpools_operator.domain.schedules import runs, stamping
from mlpools_operator.domain.schedules.runs import Decision, Hindrance, Run, Standing
from mlpools_operator.domain.training import preflight
from mlpools_operator.domain.training.observed import KIND, Observed
from mlpools_operator.domain.training.status import Draft

#: What is in the way of a run is looked at again after this time.
_RETRY_SECONDS = 30.0
#: A clock that was put forward is noticed after this time.
_LOOK_SECONDS = 300.0


def is_template(job: Resource) -> bool:
    """Whether a TrainingJob makes runs instead of running; what has started stays what it was."""
    return job.spec.get("schedule") is not None and not job.status.get("attempt")


def plan(job: Resource, observed: Observed, now: float) -> Plan:
    """Plan the next writes for a template; equal arguments give equal plans."""
    draft = Draft(job, now)
    try:
        spec = preflight.check(job, started=False)
        assert spec.schedule is not None
        preflight.check(_sample(job, spec.schedule, now), started=False)
    except preflight.RefusedError as refused:
        event = Event("Warning", refused.reason, str(refused))
        return Plan(status=_refused(job, draft, refused, now).plain(), events=(event,))
    standing = _standing(job, observed, draft, spec, now)
    if spec.suspend:
        decision = runs.rest(spec.schedule, standing)
        status = _suspended(job, draft, decision, now)
    else:
        decision = runs.decide(spec.schedule, standing, now)
        status = _scheduled(job, draft, spec.schedule, decision, now)
    return Plan(
        delete=tuple(Delete(KIND, job.meta.namespace, run.name, run.uid) for run in decision.delete),
        create=() if decision.start is None else (_run(job, spec.schedule, decision.start),),
        status=status.plain(),
        events=decision.events,
        requeue_after=_wait(decision, now),
    )


def _standing(job: Resource, observed: Observed, draft: Draft, spec: TrainingJobSpec, now: float) -> Standing:
    return Standing(
        name=job.meta.name,
        since=job.meta.created if not job.status else now,
        past=draft.before.schedule,
        resumed=draft.rests and not spec.suspend,
        runs=[
            Run(run.meta.name, run.meta.uid, run.meta.created, Draft(run, now).ended, run.meta.deleting)
            for run in observed.runs
        ],
        hindrance=_hindrance(observed),
    )


def _hindrance(observed: Observed) -> Hindrance | None:
    if observed.foreign:
        name = observed.foreign[0].meta.name
        return Hindrance(
            "NameConflict",
            f"The run that is due cannot be made: there is a TrainingJob {name} already, which is no run of "
            "this schedule. Delete or rename that one.",
        )
    if observed.refused:
        return Hindrance("RunRefused", f"The API server refuses the run that is due: {observed.refused}")
    return None


def _sample(job: Resource, wanted: Schedule, now: float) -> Resource:
    """Return a run as it could be made now: what is wrong with it is said before any is due."""
    return Resource(job.meta, _run(job, wanted, now)["spec"])


def _run(job: Resource, wanted: Schedule, due: float) -> Object:
    return stamping.run(
        job,
        KIND,
        naming.run(job.meta.name, due),
        runs.timetable(wanted).local(due),
        reads=("data",),
        writes=("output", "checkpoint"),
    )


def _wait(decision: Decision, now: float) -> float | None:
    if decision.hindrance is not None:
        return _RETRY_SECONDS
    if decision.status.next is None:
        return None
    return min(max(0.0, times.seconds(decision.status.next) - now), _LOOK_SECONDS)


def _scheduled(
    job: Resource, draft: Draft, wanted: Schedule, decision: Decision, now: float
) -> TrainingJobStatus:
    table = runs.timetable(wanted)
    upcoming = times.seconds(decision.status.next)
    reason = f"Next {table.local(upcoming):%Y-%m-%d %H:%M}"
    conditions = ConditionList(draft.before.conditions, now)
    if decision.hindrance is None:
        conditions.set("Scheduled", True, "Scheduled", f"The next run is due at {table.words(upcoming)}.")
    else:
        reason = decision.hindrance.reason
        conditions.set("Scheduled", False, reason, decision.hindrance.message)
    conditions.set("Ready", True, "Scheduled")
    return _status(job, "Scheduled", reason, conditions, decision.status)


def _suspended(job: Resource, draft: Draft, decision: Decision, now: float) -> TrainingJobStatus:
    message = "It is suspended (spec.suspend) and starts no runs; set suspend to false to let it go on."
    conditions = ConditionList(draft.before.conditions, now).set("Scheduled", False, "Suspended", message)
    conditions.set("Suspended", True, "Suspended", message).set("Ready", True, "Suspended")
    return _status(job, "Suspended", "Suspended", conditions, decision.status)


def _refused(job: Resource, draft: Draft, refused: preflight.RefusedError, now: float) -> TrainingJobStatus:
    """Nothing is started as long as the spec is like this; unlike a job's end this is not final."""
    conditions = ConditionList(draft.before.conditions, now)
    for name, holds in (("Scheduled", False), ("Ready", False), ("Stalled", True)):
        conditions.set(name, holds, refused.reason, str(refused))
    told = draft.before.schedule
    told = told.model_copy(update={"next": None}) if told else None
    return _status(job, "Failed", refused.reason, conditions, told)


def _status(
    job: Resource, phase: str, reason: str, conditions: ConditionList, told: ScheduleStatus | None
) -> TrainingJobStatus:
    return TrainingJobStatus(
        phase=phase,
        reason=reason,
        conditions=conditions.all(),
        observed_generation=job.meta.generation,
        schedule=told,
    )
