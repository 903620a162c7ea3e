"""What all pods of a notebook do: collect ended processes, leave last words."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mlpools.contract.ends import Final
from mlpools.supervisor.final import write_termination
from mlpools.supervisor.logs import say
from mlpools.supervisor.notebook.settings import Settings
from mlpools.supervisor.process import Worker


def reap(workers: Iterable[Worker]) -> None:
    """Collect every ended child: as PID 1 also those whose parents are gone."""
    by_pid = {worker.pid: worker for worker in workers if worker.running}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in by_pid:
            by_pid.pop(pid).ended(status)


def end(settings: Settings, code: int, message: str) -> int:
    """Leave the last words, and return the exit code."""
    say(message)
    write_termination(
        Final(code=code, rank=0, attempt=settings.task.attempt, message=message),
        settings.termination_log,
    )
    return int(code)
