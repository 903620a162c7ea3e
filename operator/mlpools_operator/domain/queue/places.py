"""How often a place is told anew: a long queue must not be rewritten whenever one job leaves it."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import QueuePlace
from mlpools_operator.domain import times, wording
from mlpools_operator.domain.pool.ledger import Verdict

#: Places told exactly, with the name of the first.
EXACT = 50
#: A place in the queue is told anew at most so often.
REWRITE_SECONDS = 30.0

_IN_LINE = frozenset({"WaitingForNodes", "BehindInQueue", "QueueFull"})


def ahead(exact: int, shown: int) -> int:
    """Return how many are said to be ahead: further back what was said before, until half as many are.

    Args:
        exact: how many there are.
        shown: how many the job's status says, 0 if it says nothing.
    """
    if exact < EXACT or shown < EXACT:
        return exact
    return shown if shown / 2 < exact < shown * 2 else exact


def place(before: QueuePlace | None, reason: str, message: str, verdict: Verdict, now: float) -> QueuePlace:
    """Return where one stands in the queue; what is said already keeps the time when it was said."""
    told = QueuePlace(
        position=verdict.position, ahead=verdict.ahead, reason=reason, message=wording.fit(message)
    )
    if before is not None and before.model_copy(update={"updated_at": None}) == told:
        return before
    return told.model_copy(update={"updated_at": times.stamp(now)})


def stands_for(before: QueuePlace | None, place: QueuePlace, now: float) -> float:
    """Return for how many seconds a job's place has to stay as it was told, 0 if it may be told anew.

    Only in the line it stays: that a job waits for something else is told at once.
    """
    if before is None or before == place or not {before.reason, place.reason} <= _IN_LINE:
        return 0.0
    return max(0.0, times.seconds(before.updated_at) + REWRITE_SECONDS - now)
