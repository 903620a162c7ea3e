"""What a script reports, and whether one that reports nothing is at work.

A script's processes write lines into a named pipe, whose path they find in their environment, so that it does
not matter who started them: torchrun and Ray close inherited descriptors.

A script need not report: until its first report its ``Activity`` counts. From then on only reports count.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from pathlib import Path
from typing import Any

from mlpools.train.activity import Activity
from mlpools.train.job import Job
from mlpools.train.script.program import Program

_REPORTED_METRICS = 16
_FLUSH_MILLISECONDS = 300.0
_CHUNK = 1 << 16


class Listener:
    """Hears a script's reports and passes them on.

    Attributes:
        path: of the pipe.
        rows: the metrics of every reported step, in order.
        step: the newest reported step, 0 = none.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.path = folder / "report"
        self.rows: list[dict[str, Any]] = []
        self.step = 0
        self._job = job
        self._reported = False
        self._first: tuple[int, float] | None = None
        os.mkfifo(self.path, 0o600)
        # Held open for writing too: else each last writer's end would be the end of the stream.
        self._pipe = os.open(self.path, os.O_RDWR)
        threading.Thread(target=self._hear, daemon=True).start()

    def watch(self, program: Program) -> int:
        """Wait for the end of the script and return its exit code, below 0 for a signal."""
        activity = Activity(self._job, program.pid)
        while True:
            code = program.poll(activity.pause)
            if code is not None:
                return code
            if activity.look(program.spoke) and not self._reported:
                self._job.reporter.alive("")

    def _hear(self) -> None:
        poll, rest = select.poll(), b""
        poll.register(self._pipe, select.POLLIN)
        patience: float | None = None
        while True:
            if not poll.poll(patience):
                self._job.reporter.flush()  # the newest step has waited for its turn
                patience = None
                continue
            patience = _FLUSH_MILLISECONDS
            *lines, rest = (rest + os.read(self._pipe, _CHUNK)).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError, TypeError, KeyError):  # a program that is not ours
                    self._take(json.loads(line))

    def _take(self, told: dict[str, Any]) -> None:
        step, total = int(told["step"]), int(told.get("totalSteps", 0))
        metrics = {str(name): float(value) for name, value in told.get("metrics", {}).items()}
        self._reported = True
        if step > self.step and metrics:
            self.rows.append({"step": step, **metrics})
        self.step = max(self.step, step)
        self._job.reporter.step(
            step=step,
            total_steps=total or None,
            eta_seconds=self._seconds_left(step, total),
            metrics=dict(list(metrics.items())[:_REPORTED_METRICS]) if metrics else None,
        )

    def _seconds_left(self, step: int, total: int) -> float | None:
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        steps, seconds = step - self._first[0], now - self._first[1]
        return round(max(0, total - step) * seconds / steps, 1) if total and steps > 0 else None
