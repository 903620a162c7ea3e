"""How fast a batch inference gets on, told by rank 0: in its reports, and in the log now and then."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from mlpools.train.reporter import Reporter, log

#: The speed is that of the last seconds, since nodes come and go.
_SPEED_SECONDS = 30.0
_FEWEST = 8
#: So often the log says how far it is.
_LINES = 10


#: Shards and rows as a ``Report`` has them, and the rows that are done with, summed over all stages.
Progress = Callable[[], tuple[dict[str, int], dict[str, int], int]]


class Pace:
    """The speed of the last seconds. For several threads at once."""

    def __init__(self, reporter: Reporter) -> None:
        """Begin; ``reporter`` is told."""
        self._reporter = reporter
        self._lock = threading.Lock()
        self._history: deque[tuple[float, int]] = deque()
        self._lines = 0

    def tell(self, progress: Progress, stages: int = 1) -> None:
        """Report how far it is.

        Args:
            progress: returns that; called by one thread at a time, so that what is told never falls.
            stages: that all rows go through.
        """
        with self._lock:
            shards, rows, handled = progress()
            speed = self._speed(handled)
            left = rows["total"] * stages - handled
            self._reporter.step(
                step=shards["done"] + shards["failed"],
                total_steps=shards["total"],
                shards=shards,
                rows=rows,
                rows_per_second=round(speed, 1),
                eta_seconds=round(left / speed, 1) if speed else None,
            )
            self._log(shards, rows, speed)

    def _speed(self, handled: int) -> float:
        now = time.monotonic()
        self._history.append((now, handled))
        while now - self._history[0][0] > _SPEED_SECONDS and len(self._history) > _FEWEST:
            self._history.popleft()
        since, before = self._history[0]
        return (handled - before) / (now - since) if now > since else 0.0

    def _log(self, shards: Mapping[str, int], rows: Mapping[str, int], speed: float) -> None:
        """Write a line after each tenth of the shards."""
        lines = _LINES * (shards["done"] + shards["failed"]) // max(1, shards["total"])
        if lines > self._lines:
            self._lines = lines
            log(
                f"shards {shards['done']:,} of {shards['total']:,}, {shards['failed']:,} failed, "
                f"rows {rows['done']:,} of {rows['total']:,}, {speed:,.0f} rows/s"
            )
