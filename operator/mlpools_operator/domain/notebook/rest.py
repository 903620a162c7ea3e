"""Whether a notebook is to rest: who wants that, and what ends it.

A person suspends it, the pool's administrator stops everything, or it stops for idleness. What stopped it
once stands in its status and goes on holding, however often a manifest is applied again, until somebody wants
it to start: by an annotation with a later time than that of the stop, or by taking ``suspend`` back.
"""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import NotebookRuntimeSpec
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.attempt.stopping import SUSPENDED, Stop
from mlpools_operator.domain.notebook.status import Draft
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool import life

IDLE = "Idle"
_HOW = f"`kubectl mlpools start`, or the annotation {naming.START_REQUESTED} with a later time, starts it."


def demand(
    notebook: Resource, spec: NotebookRuntimeSpec, draft: Draft, pool: Resource | None, now: float
) -> Stop | None:
    """Return why a notebook must not run, None if it may.

    Args:
        notebook: as it stands.
        spec: of the notebook.
        draft: of its status.
        pool: that it names.
        now: seconds since the epoch.
    """
    if spec.suspend:
        return Stop(SUSPENDED, "It is suspended (spec.suspend); set suspend to false to start it.")
    started = times.seconds(draft.before.start_time)
    if draft.admitted and life.stopped_by(pool, started, now):
        moment = times.deadline(life.stop_all(pool))
        return Stop("StopAll", f"Its pool's stopAll stops all that started before {moment}. {_HOW}")
    if draft.admitted and pool is not None and pool.spec.get("suspend"):
        name = spec.compute_pool
        return Stop("PoolSuspended", f"Pool {name} was suspended by its administrator. {_HOW}")
    before = draft.rest
    if before is None or before.reason == SUSPENDED or _is_wanted(notebook, draft, now):
        return None
    return before


def until_wanted(notebook: Resource, now: float) -> float | None:
    """Return the seconds until a wish for a later time comes due, None without one."""
    requested = life.start_requested(notebook)
    return requested - now if requested > now else None


def idle(spec: NotebookRuntimeSpec, used: float, *, busy: bool) -> Stop:
    """Return the stop of a notebook that nobody uses."""
    if busy:
        seconds = spec.idle.max_busy_seconds
        return Stop("MaxBusy", f"Nobody did anything in it for {seconds} s (idle.maxBusySeconds). {_HOW}")
    since = times.stamp(used)
    words = f"Nobody has used it since {since}, for {spec.idle_seconds} s (idleSeconds). {_HOW}"
    return Stop(IDLE, words)


def _is_wanted(notebook: Resource, draft: Draft, now: float) -> bool:
    stopped = times.seconds(draft.before.stopped_at)
    return stopped < life.start_requested(notebook) <= now
