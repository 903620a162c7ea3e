"""What a status write of a notebook tells for the first time, for the figures of its pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpools_operator.domain.job import transitions
from mlpools_operator.domain.job.transitions import Admitted, Rested, Spent, Transition
from mlpools_operator.domain.notebook.status import STOPPING
from mlpools_operator.domain.observed import Resource


def of_notebook(before: Resource, status: Mapping[str, Any], now: float) -> tuple[Transition, ...]:
    """Return what a write tells: a notebook is admitted again and again, and has no end.

    Args:
        before: the notebook as it was.
        status: that was stored.
        now: seconds since the epoch.
    """
    told: list[Transition] = []
    if status.get("attempt", 0) != before.status.get("attempt", 0):
        waited = max(0.0, now - transitions.waiting_since(before))
        told += [Spent("Queued", waited), Admitted()]
    why = _stops(status)
    if why and not _stops(before.status):
        told.append(Rested(why))
    return tuple(told)


def _stops(status: Mapping[str, Any]) -> str:
    """Return why it was told to stop, empty if it was not."""
    conditions = status.get("conditions", ())
    found = (it["reason"] for it in conditions if (it["type"], it["status"]) == (STOPPING, "True"))
    return str(next(found, ""))
