"""What ``wait`` waits for, and whether it has come, or never will. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

from mlpools_kubectl import usage
from mlpools_kubectl.cluster import Object
from mlpools_kubectl.kinds import JOBS, NOTEBOOK, POOL
from mlpools_kubectl.names import called
from mlpools_kubectl.screen import said
from mlpools_operator.domain import naming, times

_DEFAULTS = {**dict.fromkeys(JOBS, "Complete"), NOTEBOOK: "Serving", POOL: "Ready"}


class Verdict(enum.Enum):
    """Where a wait stands."""

    NOT_YET = "not yet"
    REACHED = "reached"
    NEVER = "never"


@dataclass(frozen=True)
class Goal:
    """What is waited for.

    Attributes:
        what: a condition's type, a phase or state, or the end of the object.
        value: of the condition, ``True`` or ``False``; the phase.
    """

    what: Literal["condition", "phase", "deleted"]
    name: str = ""
    value: str = "True"


def goal(text: str | None, kind: str) -> Goal:
    """Read ``--for``.

    Args:
        text: ``Complete``, ``Ready=False``, ``phase=Running``, ``deleted``; None = what one usually wants.
        kind: of the object.

    Raises:
        ValueError: it is none of these.
    """
    name, equals, value = (text or _DEFAULTS[kind]).partition("=")
    if name == "deleted" and not equals:
        return Goal("deleted")
    if name == "phase" and value:
        return Goal("phase", "state" if kind == POOL else "phase", value)
    if not name or (equals and value.capitalize() not in ("True", "False")):
        raise ValueError(f"{text!r} is none of CONDITION, CONDITION=False, phase=PHASE and deleted.")
    return Goal("condition", name[0].upper() + name[1:], value.capitalize() or "True")


def judge(goal: Goal, it: Object | None) -> tuple[Verdict, str]:
    """Return where a wait stands, and in a sentence why.

    Args:
        goal: what is waited for.
        it: the object as it is now; None once it is gone.
    """
    if it is None:
        reached = goal.what == "deleted"
        return (Verdict.REACHED if reached else Verdict.NEVER), "It was deleted."
    if goal.what == "deleted":
        return Verdict.NOT_YET, standing(it)
    over = usage.ended(it)
    # What is over stays so; anything else may speak of the spec before the last change.
    if not over and _is_stale(it):
        return Verdict.NOT_YET, standing(it)
    if _is_reached(goal, it):
        return Verdict.REACHED, standing(it)
    template = it["kind"] != NOTEBOOK and usage.holds(it, "Scheduled")
    if over or _rests(it) or template:
        return Verdict.NEVER, standing(it)
    return Verdict.NOT_YET, standing(it)


def _is_stale(it: Object) -> bool:
    seen = said(it, "status", "observedGeneration")
    return seen is None or int(seen) < int(it["metadata"]["generation"])


def _is_reached(goal: Goal, it: Object) -> bool:
    if goal.what == "phase":
        return bool(said(it, "status", goal.name) == goal.value)
    return usage.holds(it, goal.name) is (goal.value == "True")


def _rests(it: Object) -> bool:
    """Whether a notebook rests and nobody has asked yet for what would end that."""
    if it["kind"] != NOTEBOOK or not usage.holds(it, "Stopped"):
        return False
    if it["spec"].get("suspend"):
        return True
    if said(it, "status", "reason") == "Suspended":
        return False  # and suspend is false by now
    wish = (it["metadata"].get("annotations") or {}).get(naming.START_REQUESTED)
    return _seconds(wish) <= times.seconds(said(it, "status", "stoppedAt"))


def _seconds(text: str | None) -> float:
    try:
        return times.seconds(text)
    except ValueError:
        return 0.0


def standing(it: Object) -> str:
    """Say how an object stands: its phase, why, and the sentence of its status that tells most."""
    phase = said(it, "status", "phase") or said(it, "status", "state")
    if not phase:
        return f"{called(it)} has no status yet: the operator has not seen it."
    reason = said(it, "status", "reason")
    progress = said(it, "status", "progress", "summary") or ""
    words = said(it, "status", "queue", "message") if phase == "Queued" else _telling(it)
    head = f"{called(it)} is {phase}" + (f" ({reason})" if reason and reason != phase else "")
    return f"{head}: {words or progress}" if words or progress else f"{head}."


def _telling(it: Object) -> str:
    for condition in ("Failed", "Complete", "Stopped", "Suspended", "Stalled"):
        if usage.holds(it, condition):
            return usage.message(it, condition)
    return "" if usage.holds(it, "Ready") else usage.message(it, "Ready")
