"""When a notebook stops for idleness: a function of the newest look at it, the times of its status, and now.

Its pod says for how long nobody and nothing has used it. The operator only counts from there, so it may die
and come back, or look late, and nothing is lost: what it saw last stands in the status. It stops nothing that
it cannot see, and nothing on the word of an old look: the one that it stops by is taken after the notebook's
time was over, and right before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import NotebookRuntimeSpec

#: A look that is older says nothing about whether the notebook may be stopped now.
FRESH_SECONDS = 5.0
#: Without a look for so long, nobody knows whether it is used.
UNSEEN_SECONDS = 60.0
#: It is said for so long that it is about to stop; of a short patience half.
WARNING_SECONDS = 300.0
#: After a look that failed the next one is tried so much later.
_LOOK_AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a notebook.

    Attributes:
        at: when.
        attempt: of the pod that told it.
        used: when it was used last, as far as its pod knows.
        touched: when a person did something last.
        trouble: what is in its way.
        gpu_unseen: nobody can see whether its GPUs work.
        dashboard: URL of its Ray cluster's dashboard, empty without one.
        said: the last lines of its program, while it does not serve.
    """

    at: float
    attempt: int
    used: float
    touched: float
    trouble: str = ""
    gpu_unseen: bool = False
    dashboard: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Idleness:
    """How far a notebook is from its stop.

    Attributes:
        used: when it was used last.
        stops_at: when it stops unless it is used before; None: it does not stop by itself.
        busy: it stops then although something runs (``idle.maxBusySeconds``).
        near: it is time to say so.
        unknown: nobody can see whether it is used.
        look: it may be stopped if a look that is taken now says nothing else.
        stop: it stops now.
        look_after: seconds until time alone changes something.
    """

    used: float
    stops_at: float | None = None
    busy: bool = False
    near: bool = False
    unknown: bool = False
    look: bool = False
    stop: bool = False
    look_after: float | None = None


def decide(
    spec: NotebookRuntimeSpec, look: Look | None, *, started: float, told: float, now: float
) -> Idleness:
    """Decide about a notebook that serves.

    Args:
        spec: of the notebook.
        look: the newest one at its present pod, None before the first.
        started: when it began to serve: a start is use.
        told: when it was used last as its status says; 0 before.
        now: seconds since the epoch.
    """
    used = max(started, told, look.used if look else 0.0)
    seen = look.at if look else max(started, told)
    unseen_after = seen + UNSEEN_SECONDS - now
    if unseen_after <= 0:
        return Idleness(used, unknown=True)
    stops_at, busy = _end(spec, used, max(started, look.touched) if look else math.inf)
    if stops_at == math.inf:
        return Idleness(used, look_after=unseen_after)
    near_at = stops_at - (WARNING_SECONDS if busy else min(WARNING_SECONDS, (stops_at - used) / 2))
    near = now >= near_at
    if now < stops_at:
        due = stops_at if near else near_at
        return Idleness(used, stops_at, busy, near, look_after=min(due - now, unseen_after))
    if look is None or look.at < stops_at or now - look.at > FRESH_SECONDS:
        return Idleness(used, stops_at, busy, near=True, look=True, look_after=_LOOK_AGAIN_SECONDS)
    return Idleness(used, stops_at, busy, near=True, stop=True)


def _end(spec: NotebookRuntimeSpec, used: float, touched: float) -> tuple[float, bool]:
    """Return when it stops, and whether that is although something runs."""
    idle = used + spec.idle_seconds if spec.idle_seconds else math.inf
    longest = touched + spec.idle.max_busy_seconds if spec.idle.max_busy_seconds else math.inf
    return min(idle, longest), longest < idle
