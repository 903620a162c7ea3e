"""``start`` and ``stop``: what is written for it, and what that means for each kind. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlpools_kubectl import usage
from mlpools_kubectl.cluster import Object
from mlpools_kubectl.failures import Failure
from mlpools_kubectl.kinds import NOTEBOOK, POOL
from mlpools_kubectl.names import called, reference
from mlpools_kubectl.screen import said
from mlpools_operator.domain import naming, times


@dataclass(frozen=True)
class Change:
    """What a command writes.

    Attributes:
        patch: a merge patch; None if all is as it should be.
        words: what is done and what follows, for the person.
    """

    patch: dict[str, Any] | None
    words: str


_RESUME: dict[str, Any] = {"spec": {"suspend": False}}
_SUSPEND: dict[str, Any] = {"spec": {"suspend": True}}


def start(it: Object, now: float) -> Change:
    """Return what starts an object.

    Args:
        it: as it is.
        now: the API server's time, in seconds since the epoch.

    Raises:
        Failure: it has ended.
    """
    if it["kind"] in (NOTEBOOK, POOL):
        return _wake(it, now)
    _refuse_ended(it)
    if not it["spec"].get("suspend"):
        return Change(None, f"{called(it)} is not suspended, so there is nothing to start: {_is(it)}.")
    return Change(
        _RESUME,
        f"{called(it)} is resumed (spec.suspend is false): it queues with its age and goes on from what it "
        "has saved.",
    )


def stop(it: Object) -> Change:
    """Return what stops an object.

    Raises:
        Failure: it has ended.
    """
    if it["kind"] not in (NOTEBOOK, POOL):
        _refuse_ended(it)
    if it["spec"].get("suspend"):
        return Change(None, f"{called(it)} is suspended already: {_is(it)}.")
    return Change(_SUSPEND, f"{called(it)} is suspended (spec.suspend is true): {_FOLLOWS[it['kind']]}")


_JOB_STOPS = (
    "it leaves the queue, or saves how far it is and gives its nodes back; `kubectl mlpools start` lets it "
    "go on. To end it for good, set spec.cancel."
)
_FOLLOWS = {
    "TrainingJob": _JOB_STOPS,
    "BatchInference": _JOB_STOPS,
    NOTEBOOK: "its kernels end and it gives its node back; the files of its workspace stay, and "
    "`kubectl mlpools start` starts it again.",
    POOL: "jobs that run finish, its notebooks stop, and all others wait until `kubectl mlpools start` lifts "
    "this hold.",
}


def _wake(it: Object, now: float) -> Change:
    """Ask for a start by annotation, and lift the hold by ``suspend``, if there is one."""
    # Later than the stop, also if both are of one second: times of the API have no parts of seconds.
    stopped = times.seconds(said(it, "status", "stoppedAt") or said(it, "status", "suspendedSince"))
    wish = {"metadata": {"annotations": {naming.START_REQUESTED: times.stamp(max(now, stopped + 1))}}}
    held = bool(it["spec"].get("suspend"))
    if not held and _is_up(it):
        return Change(None, f"{called(it)} need not be started: {_is(it)}.")
    what = "spec.suspend is false" if held else f"the annotation {naming.START_REQUESTED} is set"
    follows = (
        f"it takes its place in the queue of its pool; `kubectl mlpools wait {reference(it)}` waits until it "
        "serves."
        if it["kind"] == NOTEBOOK
        else "it wakes and admits jobs."
    )
    return Change({**(_RESUME if held else {}), **wish}, f"{called(it)} is started ({what}): {follows}")


def _is_up(it: Object) -> bool:
    rests = "Stopped" if it["kind"] == NOTEBOOK else "Suspended"
    return not usage.holds(it, rests) and not usage.holds(it, "Stopping")


def _is(it: Object) -> str:
    phase = said(it, "status", "phase") or said(it, "status", "state")
    return f"it is {phase}" if phase else "the operator has not seen it yet"


def _refuse_ended(it: Object) -> None:
    if usage.ended(it):
        phase = said(it, "status", "phase")
        raise Failure(f"{called(it)} has ended ({phase}): a new run is a new object.")
