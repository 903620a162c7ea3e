"""Runs of a notebook's document at their times, which take turns with the notebook itself.

A run that is due is first promised the workspace, which is told in the status; only then it is made; and once
it is seen its time is settled. A notebook that holds a node has the workspace, and gets no run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlpools_operator.api.v1alpha1 import (
    ComputePoolSpec,
    InvalidSpec,
    NotebookSchedule,
    ScheduleStatus,
    WorkspaceRun,
    parse,
)
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.attempt import children as children_of
from mlpools_operator.domain.attempt.stopping import NEWS_SECONDS
from mlpools_operator.domain.conditions import holds, reason_of, since
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import headless, holder
from mlpools_operator.domain.notebook.holder import IN_USE
from mlpools_operator.domain.notebook.status import SCHEDULED, Draft
from mlpools_operator.domain.notebook.step import Step
from mlpools_operator.domain.plan import Delete, Event, Plan
from mlpools_operator.domain.pods import network_profiles
from mlpools_operator.domain.pool import families
from mlpools_operator.domain.schedules import runs
from mlpools_operator.domain.schedules.runs import Decision, Hindrance, Run, Standing

_SUSPENDED = "Suspended"
#: What only the try to make a run shows, and then it is certain that there is none.
_TRIED = _TAKEN, _REFUSED = "NameConflict", "RunRefused"
#: What is in the way of a run is looked at again after this time.
_RETRY_SECONDS = 30.0
#: A clock that was put forward is noticed after this time.
_LOOK_SECONDS = 300.0
#: Pods whose run is gone wake nobody when they go.
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What a pass does about runs, whatever it does about the notebook.

    Attributes:
        draft: of the status, with how the schedule stands and who has the workspace.
        plan: writes for runs; without a status.
    """

    draft: Draft
    plan: Plan

    def joined(self, other: Plan, before: Draft) -> Plan:
        """Return the writes of a pass: those for runs, and those for the notebook itself.

        Args:
            other: the writes for the notebook.
            before: draft of the status without what this says.
        """
        if other.look:
            return other
        status = other.status
        if status is None and self.draft.before != before.before:
            status = self.draft.keep().plain()
        return replace(
            other,
            delete=(*self.plan.delete, *other.delete),
            apply=(*self.plan.apply, *other.apply),
            create=(*self.plan.create, *other.create),
            status=status,
            events=(*other.events, *self.plan.events),
            requeue_after=times.earliest(other.requeue_after, self.plan.requeue_after),
        )


def turn(step: Step, defaults: Defaults) -> Turn:
    """Decide about the runs of a notebook; equal arguments give equal turns."""
    told, run = step.draft.before.run, holder.of(step)
    pool = _pool(step, defaults)
    if run is not None and told is not None and not told.uid:
        made = _seen(step, run) if run.uid else _promised(step, run, pool)
    else:
        made = _decided(step, run, pool)
    return _attended(step, made, pool)


def _decided(step: Step, run: WorkspaceRun | None, pool: ComputePoolSpec | None) -> Turn:
    """Follow the schedule: promise the workspace to the run that is due, or tell what is."""
    schedule = step.spec.schedule
    if schedule is None:
        return Turn(step.draft.with_schedule(None, run, None), Plan())
    wrong = _wrong(step, schedule)
    if wrong is not None:
        return _hindered(step, run, wrong)
    hindrance = _used(step, run) or _hindrance(step, pool)
    standing = _standing(step, schedule, hindrance)
    decide = runs.rest(schedule, standing) if schedule.suspend else runs.decide(schedule, standing, step.now)
    if decide.start is None:
        return _without_start(step, schedule, decide, run)
    promise = WorkspaceRun(name=naming.run(standing.name, decide.start))
    # Not settled before it is made: whoever finds the promise knows by `next` for which time.
    told = runs.remembered(schedule, standing, step.now)
    told = told.model_copy(update={"next": times.stamp(decide.start)})
    return Turn(step.draft.with_schedule(told, promise, _due(schedule, told)), Plan(requeue_after=0.0))


def _promised(step: Step, run: WorkspaceRun, pool: ComputePoolSpec | None) -> Turn:
    """Make the run that was promised the workspace, whatever was said meanwhile: it may be there already.

    If it cannot be made, the promise is taken back once it is certain that nobody made it: the news of that
    would have come.
    """
    schedule, told = step.spec.schedule, step.draft.before.schedule
    trying = holds(step.draft.before.conditions, SCHEDULED)
    if schedule is None or told is None:
        why = Hindrance(
            IN_USE,
            f"The schedule was taken away while run {run.name} was about to be made; the notebook may start "
            f"when it is certain that it was not, within {NEWS_SECONDS:.0f} s.",
        )
    else:
        found = _wrong(step, schedule) or _hindrance(step, pool)
        if found is None:
            draft = step.draft.with_schedule(told, run, _due(schedule, told))
            made = headless.run(step.notebook, step.spec, schedule, times.seconds(told.next))
            # Since when it could not be made counts from the last try: so that none is made first.
            return Turn(draft, Plan(create=(made,) if trying else (), requeue_after=0.0))
        why = found
    began = step.now if trying else since(step.draft.before.conditions, SCHEDULED)
    left = 0.0 if why.reason in _TRIED else began + NEWS_SECONDS - step.now
    if left > 0:
        return _hindered(step, run, why, left)
    if schedule is None:
        return Turn(step.draft.with_schedule(None, None, None), Plan())
    return _hindered(step, None, why)


def _seen(step: Step, run: WorkspaceRun) -> Turn:
    """Note that the run which was promised the workspace is there, and so that its time is settled."""
    schedule, told = step.spec.schedule, step.draft.before.schedule
    if schedule is None or told is None:
        return Turn(step.draft.with_schedule(None, run, None), Plan(requeue_after=0.0))
    standing = _standing(step, schedule, None)
    decision = runs.decide(schedule, replace(standing, resumed=False), times.seconds(told.next))
    draft = step.draft.with_schedule(decision.status, run, _due(schedule, decision.status))
    return Turn(draft, Plan(events=decision.events, requeue_after=0.0))


def _hindered(
    step: Step, run: WorkspaceRun | None, why: Hindrance, again: float | None = _RETRY_SECONDS
) -> Turn:
    """Tell what keeps runs from being made; how the schedule stood before stays told."""
    told = step.draft.before.schedule
    draft = step.draft.with_schedule(told, run, (False, why.reason, why.message))
    return Turn(draft, Plan(events=(Event("Warning", why.reason, why.message),), requeue_after=again))


def _without_start(
    step: Step, schedule: NotebookSchedule, decision: Decision, run: WorkspaceRun | None
) -> Turn:
    """Tell how the schedule stands, and let go what is not kept."""
    delete, again = decision.delete, _wait(decision.status, step.now)
    if decision.hindrance is not None:
        said = (False, decision.hindrance.reason, decision.hindrance.message)
        again = _RETRY_SECONDS
        if run is not None and schedule.concurrency_policy == "Replace":
            delete = tuple(it for it in _there(step) if not it.over and not it.deleting)
    elif schedule.suspend:
        said = (False, _SUSPENDED, "Its schedule is suspended (schedule.suspend) and starts no runs.")
    else:
        said = _due(schedule, decision.status)
    gone = tuple(Delete(headless.RUN, step.notebook.meta.namespace, it.name, it.uid) for it in delete)
    plan = Plan(delete=gone, events=decision.events, requeue_after=again)
    return Turn(step.draft.with_schedule(decision.status, run, said), plan)


def _attended(step: Step, made: Turn, pool: ComputePoolSpec | None) -> Turn:
    """Look again for the end of the run that has the workspace, and keep its NetworkPolicy.

    That one is applied with the promise, so it is there before the run.
    """
    run, plan, observed = made.draft.before.run, made.plan, step.observed
    if run is None:
        return made
    if run.uid and not holder.lives(step, run):
        plan = replace(plan, requeue_after=times.earliest(plan.requeue_after, _END_SECONDS))
    if pool is not None and network_profiles.is_isolated(pool.network) and not _obstructed(step):
        policy = headless.policy(step.notebook, step.spec, pool, observed.known, run.name)
        if children_of.is_due(policy, observed.children):
            plan = replace(plan, apply=(policy,))
    return replace(made, plan=plan)


def _obstructed(step: Step) -> bool:
    """Whether the last write of this pass was refused: what is sent again at once is refused again."""
    return bool(step.observed.refused) or _stranger(step) is not None


def _pool(step: Step, defaults: Defaults) -> ComputePoolSpec | None:
    try:
        return families.read(step.observed.pool.spec, defaults.families) if step.observed.pool else None
    except InvalidSpec:
        return None


def _wrong(step: Step, schedule: NotebookSchedule) -> Hindrance | None:
    """Say what is wrong with a run as it could be made now, before any is due."""
    workspace = naming.workspace(step.notebook.meta.name)
    if any(volume.name == workspace for volume in step.spec.volumes):
        words = f"A volume is called {workspace}, as that of the workspace in its runs: rename it."
        return Hindrance("InvalidSpec", words)
    try:
        parse(headless.RUN, headless.run(step.notebook, step.spec, schedule, step.now)["spec"])
    except InvalidSpec as error:
        return Hindrance("InvalidSpec", f"Its runs would be refused: {error}")
    return None


def _used(step: Step, run: WorkspaceRun | None) -> Hindrance | None:
    """Say who has the workspace, or gets it before the run that is due."""
    if run is not None:
        return holder.hindrance(run)
    if step.draft.before.reason == IN_USE:
        return Hindrance(
            "NotebookRuns",
            "The run that is due waits: the notebook waited for the run before, and starts first.",
        )
    return None


def _hindrance(step: Step, pool: ComputePoolSpec | None) -> Hindrance | None:
    """Return what else is in the way of a run that is due."""
    claim, past = step.observed.claim, step.draft.before.conditions
    if step.draft.admitted or holder.notebook_has_pods(step):
        return Hindrance(
            "NotebookRuns",
            "The run that is due waits: the notebook itself has the workspace, until it has stopped.",
        )
    if claim is None or not naming.belongs(claim.meta, step.notebook.meta):
        return Hindrance(
            "NoWorkspace",
            "The run that is due cannot be made: there is no workspace yet. Start the notebook once, and put "
            "there what is to run.",
        )
    if pool is None:
        name = step.spec.compute_pool
        message = f"The run that is due waits: there is no pool {name}, or what it says cannot be used."
        return Hindrance("PoolNotFound", message)
    tried = next((it for it in past if it.type == SCHEDULED and it.reason in _TRIED), None)
    if tried is not None and step.now < since(past, SCHEDULED) + _RETRY_SECONDS:
        return Hindrance(tried.reason, tried.message)  # meanwhile the notebook may have the workspace
    stranger = _stranger(step)
    if stranger is not None:
        return Hindrance(
            _TAKEN,
            f"The run that is due cannot be made: there is a {stranger} already, which is none of this "
            "notebook. Delete or rename that one.",
        )
    if step.observed.refused:
        return Hindrance(_REFUSED, f"The API server refuses the run that is due: {step.observed.refused}")
    return None


def _stranger(step: Step) -> str | None:
    """Return what of somebody else has the name of a run or of its NetworkPolicy."""
    policy = naming.notebook_runs(step.notebook.meta.name)
    found = (it for it in step.observed.foreign if it.kind == headless.RUN or it.meta.name == policy)
    return next((f"{it.kind} {it.meta.name}" for it in found), None)


def _standing(step: Step, schedule: NotebookSchedule, hindrance: Hindrance | None) -> Standing:
    notebook, before = step.notebook, step.draft.before
    return Standing(
        name=headless.base(notebook),
        since=step.now if notebook.status else notebook.meta.created,
        past=before.schedule,
        resumed=reason_of(before.conditions, SCHEDULED) == _SUSPENDED and not schedule.suspend,
        runs=_there(step),
        hindrance=hindrance,
    )


def _there(step: Step) -> list[Run]:
    return [
        Run(it.meta.name, it.meta.uid, it.meta.created, holder.is_over(it), it.meta.deleting)
        for it in step.observed.runs
    ]


def _due(schedule: NotebookSchedule, told: ScheduleStatus) -> tuple[bool, str, str]:
    when = runs.timetable(schedule).words(times.seconds(told.next))
    return True, SCHEDULED, f"The next run is due at {when}."


def _wait(told: ScheduleStatus, now: float) -> float | None:
    if told.next is None:
        return None
    return min(max(0.0, times.seconds(told.next) - now), _LOOK_SECONDS)
