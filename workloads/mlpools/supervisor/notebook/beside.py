"""Beside a program that the image starts by itself: mlpools is not its parent, and only watches.

The pod's containers share their processes and their network, so this one sees both. It is given nothing that
opens anything: no token, no Secret, none of the notebook's variables. What the GPUs do it cannot see, since
they belong to the other container.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Activity
from mlpools.contract.tasks import Notebook
from mlpools.supervisor.final import write_termination
from mlpools.supervisor.logs import say
from mlpools.supervisor.notebook import processes, sockets, workspace
from mlpools.supervisor.notebook.watch import SAMPLE_SECONDS, Sources, Watch
from mlpools.supervisor.status import StatusServer


def attend(task: Notebook, folder: Path, status_port: int, termination_log: str) -> int:
    """Watch until told to stop; return the exit code.

    Args:
        task: what the operator told.
        folder: the workspace.
        status_port: where it answers.
        termination_log: where the last words go.
    """
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    refused = workspace.not_writable(folder)
    if refused:
        say(refused)
        final = Final(Exit.OUTPUT_NOT_WRITABLE, 0, task.attempt, message=refused)
        write_termination(final, termination_log)
        return int(final.code)
    sources = Sources(processes.snapshot, sockets.connections, lambda: None)
    watch = Watch(sources, task.port, (status_port,), task.cpu_percent, task.gpu_percent)
    StatusServer(status_port, {("GET", "/status"): lambda _: _activity(task, watch, folder).to_json()})
    while not told_to_stop.wait(SAMPLE_SECONDS):
        watch.look()
    return int(Exit.DONE)


def _activity(task: Notebook, watch: Watch, folder: Path) -> Activity:
    used = watch.look()
    return Activity(
        attempt=task.attempt,
        serving=sockets.listens(task.port),
        unused_seconds=round(used.unused_seconds, 3),
        untouched_seconds=round(used.untouched_seconds, 3),
        used_by=used.by,
        trouble=workspace.trouble(folder),
        gpu_unseen=task.gpus > 0,
    )
