"""Schedules: which run is to be started now, and which ones go.

A schedule remembers one moment, ``settled``: the times up to it are dealt with, and it never moves back.
A run is made first, under a name that follows from its time, and only then its time is settled. So whatever
dies in between, the run that is there already is recognised by its name; and once its time is settled, it
is never made again, whether its object still exists or not, and wherever the clock goes.

Nothing here knows what a run is: kinds bring their runs, and make them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import Schedule, ScheduleStatus
from mlpools_operator.domain import naming, times, wording
from mlpools_operator.domain.plan import Event
from mlpools_operator.domain.schedules.timetable import Timetable

#: Active runs that the status names.
_NAMED = 32


@dataclass(frozen=True, slots=True)
class Run:
    """One run that a template made.

    Attributes:
        over: it has ended.
        deleting: it is on its way out, and counts neither as running nor as kept.
    """

    name: str
    uid: str
    created: float = 0.0
    over: bool = False
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a run cannot be made now.

    Attributes:
        reason: in one word.
        message: one sentence for a person.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A schedule before a decision.

    Attributes:
        name: of the template.
        since: the times after this moment count if nothing is remembered yet.
        past: what its status says; None if nothing yet.
        resumed: it was suspended until now: what it missed meanwhile is not made up.
        runs: that it made and that exist.
        hindrance: what the last try to make a run ran into.
    """

    name: str
    since: float
    past: ScheduleStatus | None
    resumed: bool
    runs: Sequence[Run]
    hindrance: Hindrance | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now.

    Attributes:
        status: what to remember once the rest is done.
        start: the time for which a run is to be made, None for none.
        delete: runs to delete, before anything is made.
        events: to tell with the status.
        hindrance: a run is due, and this is in the way.
    """

    status: ScheduleStatus
    start: float | None = None
    delete: tuple[Run, ...] = ()
    events: tuple[Event, ...] = ()
    hindrance: Hindrance | None = None


def timetable(schedule: Schedule) -> Timetable:
    """Return the times of a schedule."""
    return Timetable(schedule.cron, schedule.time_zone)


def rest(schedule: Schedule, standing: Standing) -> Decision:
    """Decide for a schedule that is suspended: runs that were made go on."""
    past = remembered(schedule, standing, standing.since)
    return _nothing_due(schedule, standing, past.model_copy(update={"next": None}))


def decide(schedule: Schedule, standing: Standing, now: float) -> Decision:
    """Decide which run is to be started, if any.

    Args:
        schedule: of the template.
        standing: what is there and what is remembered.
        now: seconds since the epoch.
    """
    table = timetable(schedule)
    past = remembered(schedule, standing, now)
    settled = times.seconds(past.settled)
    due = table.latest(settled, now)
    upcoming = table.next(max(settled, now))
    ahead = past.model_copy(update={"next": times.stamp(upcoming) if upcoming is not None else None})
    if due is None:
        return _nothing_due(schedule, standing, ahead)
    name = naming.run(standing.name, due)
    ahead = ahead.model_copy(update={"settled": times.stamp(due)})
    if any(run.name == name for run in standing.runs):  # made before whoever made it could say so
        return _started(standing, ahead, table, due)
    running = [run for run in standing.runs if not run.over and not run.deleting]
    if now - due > schedule.starting_deadline_seconds:
        why = standing.hindrance.message if standing.hindrance else "nobody could start it in time."
        message = (
            f"The run of {table.words(due)} was missed by more than startingDeadlineSeconds "
            f"({schedule.starting_deadline_seconds} s): {why}"
        )
        return _passed_over(standing, ahead, "RunMissed", message)
    if running and schedule.concurrency_policy == "Forbid":
        message = (
            f"The run of {table.words(due)} was passed over: {running[-1].name} has not ended yet "
            "(concurrencyPolicy Forbid)."
        )
        return _passed_over(standing, ahead, "RunSkipped", message)
    if standing.hindrance is not None:
        return _hindered(standing, past.model_copy(update={"next": times.stamp(due)}), standing.hindrance)
    replaced = tuple(running) if schedule.concurrency_policy == "Replace" else ()
    return _started(standing, ahead, table, due, replaced)


def remembered(schedule: Schedule, standing: Standing, now: float) -> ScheduleStatus:
    """Return what is remembered before a decision; other times than before count from now on."""
    past, cron = standing.past, str(timetable(schedule))
    if past is None:
        return ScheduleStatus(settled=times.stamp(standing.since), cron=cron)
    settled = times.seconds(past.settled)
    if standing.resumed or past.cron != cron:
        settled = max(settled, now)
    return past.model_copy(update={"settled": times.stamp(settled), "cron": cron})


def _nothing_due(schedule: Schedule, standing: Standing, status: ScheduleStatus) -> Decision:
    """Only now may ended runs go: while a time is not settled, the run that it may have must be found."""
    over = sorted(
        (run for run in standing.runs if run.over and not run.deleting),
        key=lambda run: (run.created, run.name),
        reverse=True,
    )
    return Decision(_with_active(status, standing.runs), delete=tuple(over[schedule.history_limit :]))


def _started(
    standing: Standing, status: ScheduleStatus, table: Timetable, due: float, replaced: tuple[Run, ...] = ()
) -> Decision:
    """The run of a time is made, or was made already."""
    name = naming.run(standing.name, due)
    message = f"Started {name} for {table.words(due)}."
    if replaced:
        names = wording.listing([run.name for run in replaced], 3)
        message = f"Deleted {names}, which had not ended (concurrencyPolicy Replace). {message}"
    there = next((run for run in standing.runs if run.name == name), None)
    runs = [run for run in standing.runs if run not in replaced]
    told = status.model_copy(update={"last": times.stamp(due), "message": wording.fit(message)})
    return Decision(
        _with_active(told, runs if there else [*runs, Run(name, "", due)]),
        start=None if there else due,
        delete=replaced,
        events=(Event("Normal", "RunStarted", message),),
    )


def _passed_over(standing: Standing, status: ScheduleStatus, reason: str, message: str) -> Decision:
    told = status.model_copy(update={"message": wording.fit(message)})
    return Decision(_with_active(told, standing.runs), events=(Event("Warning", reason, message),))


def _hindered(standing: Standing, status: ScheduleStatus, hindrance: Hindrance) -> Decision:
    """The time stays due: it is tried again until its deadline."""
    events = (Event("Warning", hindrance.reason, hindrance.message),)
    return Decision(_with_active(status, standing.runs), events=events, hindrance=hindrance)


def _with_active(status: ScheduleStatus, runs: Sequence[Run]) -> ScheduleStatus:
    names = sorted(run.name for run in runs if not run.over and not run.deleting)
    return status.model_copy(update={"active": tuple(names[-_NAMED:])})
