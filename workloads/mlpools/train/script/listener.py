"""What a script reports, and whether one that reports nothing is at work.

A script's processes write lines into a named pipe, whose path they find in their environment, so that it does
not matter who started them: torchrun and Ray close inherited descriptors.

A script need not report. Until its first report a rank counts as at work while its processes use the CPU or
write to the log, or while rank 0 is at work, for which it may wait. From then on only reports count.
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

from mlpools.contract import Report
from mlpools.document import ContractError
from mlpools.supervisor.status import ask
from mlpools.train.job import Job
from mlpools.train.script.program import Program

_REPORTED_METRICS = 16
#: Looks at a silent script are so far apart, and closer for short time-outs.
_LOOK_SECONDS = 15.0
_LOOKS_PER_TIMEOUT = 4
#: Below this share of a CPU a process only waits: event loops wake up now and then.
_BUSY_SHARE = 0.01
_FLUSH_MILLISECONDS = 300.0
_CHUNK = 1 << 16
_TICKS = os.sysconf("SC_CLK_TCK")


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
        timeout = self._job.task.hang_timeout_seconds
        pause = min(_LOOK_SECONDS, timeout / _LOOKS_PER_TIMEOUT) if timeout else _LOOK_SECONDS
        seen, looked = _cpu_seconds(program.pid), time.monotonic()
        while True:
            code = program.poll(pause)
            if code is not None:
                return code
            used, now = _cpu_seconds(program.pid), time.monotonic()
            busy = used - seen > _BUSY_SHARE * (now - looked) or program.spoke > looked
            if not self._reported and (busy or self._leader_is_at_work(2 * pause)):
                self._job.reporter.alive("")
            seen, looked = used, now

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

    def _leader_is_at_work(self, seconds: float) -> bool:
        gang = self._job.gang
        if gang.leads:
            return False
        with contextlib.suppress(OSError, ContractError):
            report = Report.from_json(ask(gang.coordinator, gang.leader_port, "GET", "/status"))
            return report.age_seconds < seconds
        return False


def _cpu_seconds(root: int) -> float:
    """Return what a process and all below it have used, as far as they still run."""
    parents, used = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # The name of a program, in brackets, may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                used[int(entry.name)] = sum(int(field) for field in fields[11:15])  # its ended children's too
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(used.get(pid, 0) for pid in below) / _TICKS
