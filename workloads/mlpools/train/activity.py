"""Whether a program that reports nothing is at work.

It counts as that while its processes use the CPU or write to the log, or while rank 0 is at work, for which
it may wait.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from mlpools.contract.reports import Report
from mlpools.document import ContractError
from mlpools.supervisor.status import ask
from mlpools.train.job import Job

#: Looks at a silent program are so far apart, and closer for short time-outs.
_LOOK_SECONDS = 15.0
_LOOKS_PER_TIMEOUT = 4
#: Below this share of a CPU a process only waits: event loops wake up now and then.
_BUSY_SHARE = 0.01
_TICKS = os.sysconf("SC_CLK_TCK")


class Activity:
    """Looks at a process and all below it, again and again.

    Attributes:
        pause: seconds between two looks.
    """

    def __init__(self, job: Job, pid: int) -> None:
        timeout = job.task.hang_timeout_seconds
        self.pause = min(_LOOK_SECONDS, timeout / _LOOKS_PER_TIMEOUT) if timeout else _LOOK_SECONDS
        self._gang = job.gang
        self._pid = pid
        self._used, self._looked = _cpu_seconds(pid), time.monotonic()

    def look(self, spoke: float = 0.0) -> bool:
        """Tell whether the program was at work since the last look.

        Args:
            spoke: monotonic time of its last output.
        """
        used, now = _cpu_seconds(self._pid), time.monotonic()
        busy = used - self._used > _BUSY_SHARE * (now - self._looked) or spoke > self._looked
        self._used, self._looked = used, now
        return busy or self._leader_is_at_work()

    def _leader_is_at_work(self) -> bool:
        if self._gang.leads:
            return False
        with contextlib.suppress(OSError, ContractError):
            report = Report.from_json(ask(self._gang.coordinator, self._gang.leader_port, "GET", "/status"))
            return report.age_seconds < 2 * self.pause
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
