"""Times as the API server writes them: RFC 3339, UTC, whole seconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """Return the text of a time, rounded down to a second."""
    return datetime.fromtimestamp(math.floor(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro(seconds: float) -> str:
    """Return the text of a time as a Lease has it, with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def deadline(seconds: float) -> str:
    """Return the text of a time before which nothing may happen: rounded up, so that it is never early."""
    return stamp(math.ceil(seconds))


def earliest(*spans: float | None) -> float | None:
    """Return the shortest of some spans of time; None stands for one that never ends."""
    return min((span for span in spans if span is not None), default=None)


def seconds(text: str | None) -> float:
    """Return seconds since the epoch; 0 for an absent time.

    Raises:
        ValueError: the text is not an RFC 3339 time.
    """
    return datetime.fromisoformat(text).timestamp() if text else 0.0
