"""How long a rank works on a step itself, apart from waiting for the others in the middle of it.

A library talks to the other ranks many times in one call, and says nothing of how long it waited. But while
it waits its thread sleeps, and while it works the thread is on a CPU, or in the queue for one: where a
neighbour or the container's limit takes the CPU away, that is the rank's own slowness, and counts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: Short steps are averaged over so long: the kernel takes a CPU away for many of them at once, then for none.
_WINDOW_SECONDS = 2.0
#: Nanoseconds on a CPU, nanoseconds in the queue for one, and how often it came off the queue.
_ACCOUNT = Path("/proc/thread-self/schedstat")


class OwnTime:
    """Measures the steps of one thread, the first that is measured.

    Attributes:
        seconds: of a step, on average over the last ones; None until that is known, or where the kernel does
            not say how long a thread was in the queue.
    """

    def __init__(self, account: Path = _ACCOUNT, window: float = _WINDOW_SECONDS) -> None:
        self._account = account
        self._window = window
        self._begin()
        self._thread = 0
        self._lap: float | None = None
        self.seconds: float | None = None

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Measure what is done inside as one step."""
        self._lap = self._so_far()
        yield
        self.lap(1)

    def lap(self, steps: int) -> None:
        """Measure what was done since the lap before as so many steps; the first one only begins."""
        self._thread = self._thread or threading.get_ident()
        if threading.get_ident() != self._thread:  # whose time is another one
            return
        before, self._lap = self._lap, self._so_far()
        if before is None or self._lap is None:
            return
        self._steps += steps
        self._worked += self._lap - before
        if self._steps and time.monotonic() - self._since >= self._window:
            self.seconds = round(self._worked / self._steps, 6)
            self._begin()

    def _begin(self) -> None:
        self._since, self._steps, self._worked = time.monotonic(), 0, 0.0

    def _so_far(self) -> float | None:
        """Return the seconds for which this thread has been on a CPU or in the queue for one."""
        try:
            queued = int(self._account.read_text().split()[1])
        except OSError:
            return None
        return time.thread_time() + queued / 1e9
