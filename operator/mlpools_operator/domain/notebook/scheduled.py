"""Runs of a notebook's document at their times, which take turns with the notebook itself.

One pod alone may have the workspace. Who has it stands in the notebook's status, which is written before
anything is made: a notebook that holds a node makes no run, and while a run has the workspace the notebook is
not admitted. Each write of the status is one of two that were read from the same, so they exclude each other
whatever dies in between, and whatever answer is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from mlpools_operator.domain.attempt.failures import is_machine_gone
from mlpools_operator.domain.conditions import reason_of, since
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import headless
from mlpools_operator.domain.notebook.status import SCHEDULED, Draft
from mlpools_operator.domain.notebook.step import Step
from mlpools_operator.domain.observed import PodChild, Resource
from mlpools_operator.domain.plan import Delete, Object, Plan
from mlpools_operator.domain.pods import network_profiles
from mlpools_operator.domain.pool import families
from mlpools_operator.domain.schedules import runs
from mlpools_operator.domain.schedules.runs import Decision, Hindrance, Run, Standing

#: Why a notebook waits while a run has its workspace, and a run while another one has it.
IN_USE = "WorkspaceInUse"
_SUSPENDED = "Suspended"
#: What only the try to make a run shows.
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
    lent, schedule = _lent(step), step.spec.schedule
    if schedule is None:
        lent = lent if lent and lent.uid else None
        return _turn(step, defaults, step.draft.with_schedule(None, lent, None), Plan())
    wrong = _wrong(step, schedule)
    if wrong is not None:
        told = step.draft.before.schedule
        draft = step.draft.with_schedule(told, lent, (False, "InvalidSpec", wrong))
        return _turn(step, defaults, draft, Plan())
    standing, granted = _standing(step, schedule, lent), _granted(step, lent)
    if granted is not None:  # what was promised is made, whatever was said meanwhile
        decision = runs.decide(schedule, replace(standing, resumed=False), granted)
    elif schedule.suspend:
        decision = runs.rest(schedule, standing)
    else:
        decision = runs.decide(schedule, standing, step.now)
    if decision.start is None:
        lent = lent if lent and lent.uid else None
        return _without_start(step, schedule, decision, lent, defaults)
    return _start(step, schedule, standing, decision, lent, defaults)


def is_over(run: Resource) -> bool:
    """Whether a run has ended."""
    conditions = run.status.get("conditions", ())
    return any(it["type"] in ("Complete", "Failed") and it["status"] == "True" for it in conditions)


def words(run: WorkspaceRun) -> str:
    """Say to who wants the notebook why it does not start."""
    return (
        f"Its scheduled run {run.name} has the workspace; it starts when that run has ended. "
        f"`kubectl get tj {run.name}` shows how far it is; deleting it ends it now."
    )


def _start(
    step: Step,
    schedule: NotebookSchedule,
    standing: Standing,
    decision: Decision,
    lent: WorkspaceRun | None,
    defaults: Defaults,
) -> Turn:
    """Give the workspace to the run that is due, and make it once that stands in the status."""
    assert decision.start is not None
    name = naming.run(standing.name, decision.start)
    if lent is None or lent.name != name:
        due = {"next": times.stamp(decision.start)}
        told = runs.remembered(schedule, standing, step.now).model_copy(update=due)
        draft = step.draft.with_schedule(told, WorkspaceRun(name=name), _due(schedule, told))
        return _turn(step, defaults, draft, Plan(requeue_after=0.0))
    draft = step.draft.with_schedule(decision.status, lent, _due(schedule, decision.status))
    made = headless.run(step.notebook, step.spec, schedule, decision.start)
    plan = Plan(create=(made,), events=decision.events, requeue_after=_wait(decision.status, step.now))
    return _turn(step, defaults, draft, plan)


def _without_start(
    step: Step,
    schedule: NotebookSchedule,
    decision: Decision,
    lent: WorkspaceRun | None,
    defaults: Defaults,
) -> Turn:
    """Tell how the schedule stands, and let go what is not kept."""
    delete, again = decision.delete, _wait(decision.status, step.now)
    if decision.hindrance is not None:
        said = (False, decision.hindrance.reason, decision.hindrance.message)
        again = _RETRY_SECONDS
        if decision.hindrance.reason == IN_USE and schedule.concurrency_policy == "Replace":
            delete = tuple(it for it in _made(step.observed.runs) if not it.over and not it.deleting)
    elif schedule.suspend:
        message = "Its schedule is suspended (schedule.suspend) and starts no runs."
        said = (False, _SUSPENDED, message)
    else:
        said = _due(schedule, decision.status)
    gone = tuple(Delete(headless.RUN, step.notebook.meta.namespace, it.name, it.uid) for it in delete)
    ends = _END_SECONDS if lent and not _lives(step.observed.runs, lent) else None
    plan = Plan(delete=gone, events=decision.events, requeue_after=times.earliest(again, ends))
    return _turn(step, defaults, step.draft.with_schedule(decision.status, lent, said), plan)


def _turn(step: Step, defaults: Defaults, draft: Draft, plan: Plan) -> Turn:
    """Add the NetworkPolicy of the run that has the workspace, which comes before the run."""
    run, pool = draft.before.run, _pool(step, defaults)
    if run is None or pool is None or not network_profiles.is_isolated(pool.network):
        return Turn(draft, plan)
    wanted = headless.policy(step.notebook, step.spec, pool, step.observed.known, run.name)
    if _is_there(step, wanted):
        return Turn(draft, plan)
    return Turn(draft, replace(plan, apply=(wanted,)))


def _is_there(step: Step, wanted: Object) -> bool:
    metadata = wanted["metadata"]
    found = (it.meta for it in step.observed.children if it.kind == wanted["kind"])
    return any(
        it.name == metadata["name"]
        and it.owner == step.notebook.meta.uid
        and it.spec_hash == naming.spec_hash(wanted)
        for it in found
    )


def _pool(step: Step, defaults: Defaults) -> ComputePoolSpec | None:
    try:
        return families.read(step.observed.pool.spec, defaults.families) if step.observed.pool else None
    except InvalidSpec:
        return None


def _wrong(step: Step, schedule: NotebookSchedule) -> str | None:
    """Say what is wrong with a run as it could be made now, before any is due."""
    made = headless.run(step.notebook, step.spec, schedule, step.now)
    workspace = naming.workspace(step.notebook.meta.name)
    if any(volume.name == workspace for volume in step.spec.volumes):
        return f"A volume is called {workspace}, as that of the workspace in its runs: rename it."
    try:
        parse(headless.RUN, made["spec"])
    except InvalidSpec as error:
        return f"Its runs would be refused: {error}"
    return None


def _standing(step: Step, schedule: NotebookSchedule, lent: WorkspaceRun | None) -> Standing:
    notebook, before = step.notebook, step.draft.before
    return Standing(
        name=headless.base(notebook),
        since=step.now if notebook.status else notebook.meta.created,
        past=before.schedule,
        resumed=reason_of(before.conditions, SCHEDULED) == _SUSPENDED and not schedule.suspend,
        runs=_made(step.observed.runs),
        hindrance=_hindrance(step, lent),
    )


def _made(there: Sequence[Resource]) -> list[Run]:
    return [Run(it.meta.name, it.meta.uid, it.meta.created, is_over(it), it.meta.deleting) for it in there]


def _hindrance(step: Step, lent: WorkspaceRun | None) -> Hindrance | None:
    """Return what is in the way of a run that is due."""
    observed, claim, past = step.observed, step.observed.claim, step.draft.before.conditions
    if step.draft.admitted or any(_is_alive(pod) for pod in observed.pods):
        return Hindrance(
            "NotebookRuns",
            "The run that is due waits: the notebook itself has the workspace, until it has stopped.",
        )
    if lent is not None and lent.uid:
        return Hindrance(IN_USE, f"The run that is due waits: run {lent.name} has the workspace.")
    if claim is None or not naming.belongs(claim.meta, step.notebook.meta):
        return Hindrance(
            "NoWorkspace",
            "The run that is due cannot be made: there is no workspace yet. Start the notebook once, and put "
            "there what is to run.",
        )
    if observed.pool is None:
        message = f"The run that is due waits: there is no pool {step.spec.compute_pool}."
        return Hindrance("PoolNotFound", message)
    tried = next((it for it in past if it.type == SCHEDULED and it.reason in _TRIED), None)
    if tried is not None and step.now < since(past, SCHEDULED) + _RETRY_SECONDS:
        return Hindrance(tried.reason, tried.message)  # meanwhile the notebook may have the workspace
    other = next((it for it in observed.foreign if it.kind in (headless.RUN, "NetworkPolicy")), None)
    if other is not None:
        return Hindrance(
            _TAKEN,
            f"The run that is due cannot be made: there is a {other.kind} {other.meta.name} already, which "
            "is none of this notebook. Delete or rename that one.",
        )
    if observed.refused:
        return Hindrance(_REFUSED, f"The API server refuses the run that is due: {observed.refused}")
    return None


def _lent(step: Step) -> WorkspaceRun | None:
    """Return the run that has the workspace: one that was promised it, or lives, or whose pods do."""
    told, there = step.draft.before.run, step.observed.runs
    found = next((it for it in there if told and it.meta.name == told.name), None)
    if told is not None and found is None and not told.uid:
        return told
    if told is not None and told.uid and any(_is_alive(pod) for pod in step.observed.run_pods):
        return told
    living = (it for it in there if not is_over(it) and not it.meta.deleting)
    return next((WorkspaceRun(name=it.meta.name, uid=it.meta.uid) for it in living), None)


def _granted(step: Step, lent: WorkspaceRun | None) -> float | None:
    """Return the time of a run that was promised the workspace and is not known to be made."""
    told = step.draft.before.schedule
    if lent is None or lent.uid or told is None:
        return None
    due = times.seconds(told.next)
    return due if naming.run(headless.base(step.notebook), due) == lent.name else None


def _lives(there: Sequence[Resource], lent: WorkspaceRun) -> bool:
    return any(it.meta.uid == lent.uid and not is_over(it) and not it.meta.deleting for it in there)


def _is_alive(pod: PodChild) -> bool:
    """Whether a pod may still write to the workspace."""
    return not pod.terminal and not is_machine_gone(pod)


def _due(schedule: NotebookSchedule, told: ScheduleStatus) -> tuple[bool, str, str]:
    when = runs.timetable(schedule).words(times.seconds(told.next))
    return True, SCHEDULED, f"The next run is due at {when}."


def _wait(told: ScheduleStatus, now: float) -> float | None:
    if told.next is None:
        return None
    return min(max(0.0, times.seconds(told.next) - now), _LOOK_SECONDS)
