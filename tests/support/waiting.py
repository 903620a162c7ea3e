"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: What hangs ends after so long; what does not may have to wait for the CPU for most of it.
PATIENCE = 150.0


def wait_for(what: str, look: Callable[[], T | None], seconds: float = PATIENCE, *, every: float = 0.05) -> T:
    """Return the first true value of ``look``; fail saying what was waited for.

    Raises:
        AssertionError: the deadline has passed.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"No {what} within {seconds:.0f} s."
        time.sleep(every)
