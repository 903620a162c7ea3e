"""When a pool sleeps, when it wakes, and the one word for what it does.

A pool that sleeps wants no nodes and admits nobody. Its administrator puts it to sleep, or its spec does from
the start, or it falls asleep when nothing held a node or asked for one for a while. Admission looks here
before it walks the queue and hands the answer on to the pool's plan: so a job that comes while the pool
falls asleep is either seen by the pass that decides, and keeps it awake, or by the next one, and wakes it.

What has to outlive the operator stands in the pool's status: since when it sleeps, why (the reason of its
condition ``Suspended``), and when jobs last came or went.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, ComputePoolStatus
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.conditions import reason_of
from mlpools_operator.domain.observed import Resource

#: The condition of a pool that sleeps; its reason says why.
SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True)
class Life:
    """Whether a pool is open, as one pass decides it.

    Attributes:
        asleep: why it takes nobody, as the reason of its condition; empty while it is open.
        since: when it fell asleep, 0 while it is open.
        waking: it slept until this pass. It takes jobs from the next one on, when its status says so: no job
            ever holds nodes of a pool that is told to be suspended.
        by_job: a job wakes it.
        look_after: seconds until time alone changes something.
    """

    asleep: str = ""
    since: float = 0.0
    waking: bool = False
    by_job: bool = False
    look_after: float | None = None

    @property
    def open(self) -> bool:
        """Whether jobs are admitted by this pass."""
        return not self.asleep and not self.waking


def look(pool: Resource, spec: ComputePoolSpec, *, held: bool, asked: bool, now: float) -> Life:
    """Decide whether a pool is open.

    Args:
        pool: as its status stands.
        spec: of the pool.
        held: something holds nodes of it.
        asked: something waits for nodes of it.
        now: seconds since the epoch.
    """
    before = ComputePoolStatus.model_validate(pool.status)
    since = times.seconds(before.suspended_since)
    if spec.suspend:
        return Life("SuspendedByAdministrator", since or now)
    if since:
        return _go_on_sleeping(pool, before, since, now, asked=asked, by_job=spec.auto_resume)
    if not before.state and spec.initially_suspended and not (asked and spec.auto_resume):
        return Life("InitiallySuspended", now, by_job=spec.auto_resume)
    if held or asked or not spec.auto_suspend_seconds:
        return Life()
    left = idle_since(before, now) + spec.auto_suspend_seconds - now
    if left > 0:
        return Life(look_after=left)
    return Life("SuspendedWhenIdle", now, by_job=spec.auto_resume)


def _go_on_sleeping(
    pool: Resource, before: ComputePoolStatus, since: float, now: float, *, asked: bool, by_job: bool
) -> Life:
    why = reason_of(before.conditions, SUSPENDED)
    requested = start_requested(pool)
    lifted = why == "SuspendedByAdministrator"  # the hold is what kept it, and it is over
    if lifted or (asked and by_job) or since < requested <= now:
        return Life(waking=True, look_after=0.0)
    return Life(why, since, by_job=by_job, look_after=requested - now if requested > now else None)


def start_requested(pool: Resource) -> float:
    """Return the time of the annotation that wakes a pool; 0 without one, or if it is no time."""
    try:
        return times.seconds(pool.meta.annotations.get(naming.START_REQUESTED))
    except ValueError:
        return 0.0


def stop_all(pool: Resource | None) -> float:
    """Return the moment before which all that started has to end; 0 without one."""
    if pool is None:
        return 0.0
    try:
        return times.seconds(pool.spec.get("stopAll"))
    except ValueError:
        return 0.0


def stopped_by(pool: Resource | None, started: float, now: float) -> bool:
    """Whether a pool's ``stopAll`` ends what started at some time.

    It is read from the spec as it is: a pool that is otherwise unusable still stops what runs.

    Args:
        pool: None if there is none any more.
        started: when the first attempt got its nodes; 0 before.
        now: seconds since the epoch.
    """
    return 0 < started < stop_all(pool) <= now


def state(life: Life, *, held: int, warm: int, wanted: int, ready: int) -> str:
    """Return the pool's state in one word.

    Args:
        life: of this pass.
        held: nodes that jobs hold.
        warm: nodes that are kept warm.
        wanted: nodes that the pool wants now.
        ready: nodes that are there.
    """
    if life.asleep:
        return "Stopping" if held or warm else "Suspended"
    if life.waking or (wanted and not ready):
        return "Starting"
    if ready != wanted:
        return "Resizing"
    return "Active" if held else "Idle"


def suspended(life: Life, pool: str) -> str:
    """Say that a pool sleeps, and what wakes it."""
    since = times.stamp(life.since)
    if life.asleep == "SuspendedByAdministrator":
        return (
            f"Pool {pool} has been suspended by its administrator since {since}: jobs that run finish, "
            "others wait until its field suspend is false."
        )
    if life.asleep == "InitiallySuspended":
        why = f"has slept since it was made ({since})"
    else:
        why = f"fell asleep at {since}, as nobody used it"
    by_hand = f"the annotation {naming.START_REQUESTED} with a later time"
    if life.by_job:
        return f"Pool {pool} {why}. The next job wakes it, and so does {by_hand}."
    return f"Pool {pool} {why}. Its autoResume is false, so jobs wait until {by_hand} wakes it."


def resuming(pool: str) -> str:
    """Say that a pool wakes."""
    return f"Pool {pool} slept and is waking up; it admits jobs in a moment."


def idle_since(before: ComputePoolStatus, now: float) -> float:
    """Return since when the status says that nothing happens; what it says may be over by now."""
    if before.jobs or before.notebooks or before.queued or before.last_activity_time is None:
        return now
    return times.seconds(before.last_activity_time)
