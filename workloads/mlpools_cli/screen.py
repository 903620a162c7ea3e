"""What a person sees while a job runs: its log, and below it one line that stays."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Mapping
from typing import TextIO

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools.train.launchers.local import Watcher
from mlpools_operator.domain.inference import progress as inference_progress
from mlpools_operator.domain.training import progress as training_progress

_CLEAR = "\r\x1b[2K"
#: The live line says the same.
_PROGRESS = ("mlpools: round ", "mlpools: shards ")


class Screen(Watcher):
    """Prints what the ranks say; on a terminal with a live line of progress below, else as plain lines.

    Attributes:
        saved: newest checkpoint's step, when all ranks have ended.
        shards: of a batch inference, when rank 0 has ended; see ``Final``.
        failed: the first rank that failed by itself, None if none did.
    """

    def __init__(self, name: str, nodes: int, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._name = name
        self._nodes = nodes
        self._live = self._out.isatty()
        self._lock = threading.Lock()
        self._line = ""
        self.saved = 0
        self.shards: Mapping[str, int] = {}
        self.failed: int | None = None

    def line(self, rank: int, text: str) -> None:
        """Print a line of a rank's log."""
        if self._live and text.startswith(_PROGRESS):
            return
        self._print(f"[{rank}] {text}" if self._nodes > 1 else text)

    def say(self, text: str) -> None:
        """Print a line of this program's own."""
        self._print(f"mlpools: {text}")

    def report(self, report: Report) -> None:
        """Show how far it is."""
        if self._live:
            with self._lock:
                self._line = self._fitted(describe(self._name, report))
                self._write(_CLEAR + self._line)

    def ended(self, final: Final) -> None:
        """Take how a rank ended."""
        self.saved = max(self.saved, final.checkpoint_step)
        if final.rank == 0:
            self.shards = final.shards
        if self.failed is None and final.code not in (Exit.DONE, Exit.PEER_LOST, Exit.PREEMPTED):
            self.failed = final.rank

    def close(self) -> None:
        """Take the live line away."""
        with self._lock:
            if self._line:
                self._line = ""
                self._write(_CLEAR)

    def _print(self, text: str) -> None:
        with self._lock:
            self._write(f"{_CLEAR}{text}\n{self._line}" if self._line else f"{text}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    @staticmethod
    def _fitted(text: str) -> str:
        columns = shutil.get_terminal_size().columns
        return text if len(text) < columns else text[: columns - 2] + "…"


def describe(name: str, report: Report) -> str:
    """Return a report in one line, in the words of ``kubectl get``."""
    shards, rows = inference_progress.shards(report.shards), inference_progress.rows(report.rows)
    if shards is not None:
        so_far = inference_progress.of(shards, rows, report.rows_per_second, report.eta_seconds)
        lost = f", {shards.failed:,} failed" if shards.failed else ""
        counted = f"  {rows.done:,} of {rows.total:,} rows" if rows else ""
        return f"{name}  {shards.done:,} of {shards.total:,} shards{lost}{counted}  {so_far.summary}"
    progress = training_progress.of(report)
    if progress is None:
        return f"{name}  {report.phase}  {report.message}".rstrip()
    of = f" of {progress.total_steps}" if progress.total_steps else ""
    rate = f"  {progress.rows_per_second:,.0f} rows/s" if progress.rows_per_second else ""
    return f"{name}  step {progress.step}{of}  {progress.summary}{rate}"
