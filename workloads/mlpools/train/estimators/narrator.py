"""What a caller sees of a training: lines of its workers, a bar for a person who watches."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from mlpools.contract.reports import Report
from mlpools.data import progress
from mlpools.errors import WorkerCrashed
from mlpools.train.launchers.local import Watcher

_OWN = "mlpools: "
#: What trees, programs and batch inferences say of their progress.
_PROGRESS = (f"{_OWN}round ", f"{_OWN}step ", f"{_OWN}shards ")
#: XGBoost's tracker greets each rank, sometimes two on a line and none on the next; LightGBM awaits peers.
_GREETING = re.compile(
    r"(\[\d\d:\d\d:\d\d\] Task \d+ got rank \d+)*|(\[LightGBM\] \[Info\] Listening\.\.\.)+"
)
_KEPT_LINES = 20


def shown(text: str) -> str | None:
    """Return what of a line is for the caller: rounds and what libraries and functions of the caller say.

    What the supervisor and the worker say of themselves is for a job's log.
    """
    if text.startswith(_PROGRESS):
        return text.removeprefix(_OWN)
    return None if text.startswith(_OWN) or _GREETING.fullmatch(text) else text


class Narrator(Watcher):
    """Tells the caller. Use it as a context manager: it closes its bar.

    Attributes:
        verbose: see ``__init__``.
        watched: whether there is a bar.
    """

    def __init__(self, verbose: int | None, doing: str = "Training", unit: str = "rounds") -> None:
        """Make a narrator.

        Args:
            verbose: print the metrics of every so many rounds; 0 = none; None = none, but a bar where
                somebody watches.
            doing: what goes on, before the bar.
            unit: of its steps.
        """
        self._doing, self._unit = doing, unit
        self.verbose = verbose
        self.watched = verbose is None and progress.is_watched()
        self._bar: Any = None
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def line(self, rank: int, text: str) -> None:
        """Print a line if it is for the caller."""
        self._last.append(text)
        told = shown(text)
        if told is not None and (self.verbose or not text.startswith(_PROGRESS)):
            print(told, flush=True)  # noqa: T201

    def report(self, report: Report) -> None:
        """Move the bar."""
        if not self.watched or not report.total_steps:
            return
        if self._bar is None:
            self._bar = progress.bar_of(self._doing, report.total_steps, self._unit, scaled=False)
        self._bar.set_postfix(report.metrics, refresh=False)
        self._bar.update(report.step - self._bar.n)
        self._bar.refresh()

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """Add the last lines to the error of a worker that ended without a word."""
        try:
            yield
        except WorkerCrashed as error:
            error.add_note("The last lines of the workers:\n" + "\n".join(self._last))
            raise
