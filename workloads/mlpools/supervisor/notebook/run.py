"""One notebook's pod, from start to exit code."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpools.contract import wiring
from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Activity
from mlpools.contract.tasks import Packages
from mlpools.document import ContractError
from mlpools.notebook import kept
from mlpools.supervisor import mounts
from mlpools.supervisor.final import write_termination
from mlpools.supervisor.logs import say
from mlpools.supervisor.notebook import beside, gpu, jupyter, pod, processes, said, sockets, workspace
from mlpools.supervisor.notebook.head import Head
from mlpools.supervisor.notebook.memory import Memory
from mlpools.supervisor.notebook.node import Node
from mlpools.supervisor.notebook.settings import Settings
from mlpools.supervisor.notebook.surroundings import Surroundings
from mlpools.supervisor.notebook.watch import SAMPLE_SECONDS, Cluster, Sources, Watch
from mlpools.supervisor.process import Worker, cloner_command, installer_command, restorer_command
from mlpools.supervisor.status import PortTakenError, Routes, StatusServer, taken

#: Kernels get so long to end after SIGTERM; the pod's grace is 30 s.
_GRACE_SECONDS = 25.0
_TOLD_TO_STOP = "The pod was told to stop."
_NO_TOKEN = "no token"  # noqa: S105 - opens nothing
_NO_JUPYTER = (
    "The image has no JupyterLab: use one that has it, add jupyterlab to runtime.packages, or name in "
    "command what the notebook is to run."
)


class NotebookSupervisor:
    """Starts the notebook's program, tells how it is used, and ends with it."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._task = settings, settings.task
        task = settings.task
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._own_jupyter = not self._task.command
        self._gpu = gpu.reader()
        self._head = Head(settings, self._events) if self._task.cluster else None
        self._watch = self._begin_to_watch()
        self._memory = Memory()
        self._around = Surroundings(task, settings.workspace, settings.packages_folder, os.environ)
        self._at_work: Worker | None = None
        self._stopping = False

    def run(self) -> int:
        """Serve until the program ends or the pod is told to stop; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda received, _: self._events.put(received))
        settings = self._settings
        missing = mounts.absent(self._task)
        if missing:
            return pod.end(self._settings, Exit.SECRET_MISSING, missing)
        refused = workspace.not_writable(settings.workspace)
        if refused:
            return pod.end(self._settings, Exit.OUTPUT_NOT_WRITABLE, refused)
        StatusServer(settings.status_port, self._routes())
        ended = self._clone() or self._install()
        if ended is not None:
            return ended
        if self._own_jupyter and not self._around.has("jupyterlab"):
            return pod.end(settings, Exit.INVALID_SPEC, _NO_JUPYTER)
        threading.Thread(target=self._keep_looking, daemon=True).start()
        command = list(self._task.command) or jupyter.command(
            self._task, settings.workspace, settings.token_file
        )
        try:
            environ = self._around.of_program() | (self._head.variables if self._head else {})
            program = Worker(_resolved(command), environ, self._events, 0)
        except OSError as error:
            return pod.end(
                self._settings,
                Exit.INVALID_SPEC,
                f"The program {command[0]} cannot be started: {error.strerror}.",
            )
        if self._head is not None:
            self._head.start(environ)
        return self._judge(self._attend(program))

    def _routes(self) -> Routes:
        routes: Routes = {("GET", "/status"): lambda _: self._status().to_json()}
        if self._head is not None:
            routes["POST", "/token"] = self._head.give_token
            routes["GET", "/nodes"] = self._head.tell_nodes
            routes["GET", "/packages"] = taken(Path(self._settings.packages_folder, wiring.PACKAGES_LOCK))
        return routes

    def _begin_to_watch(self) -> Watch:
        task, settings = self._task, self._settings
        sources = Sources(
            processes.snapshot,
            sockets.connections,
            self._gpu,
            self._account if self._own_jupyter else None,
            cluster=self._head.cluster if self._head else Cluster,
        )
        return Watch(sources, task.port, (settings.status_port,), task.cpu_percent, task.gpu_percent)

    def _account(self) -> jupyter.Account:
        token = self._token() or _NO_TOKEN
        return jupyter.account(self._task.port, token, self._settings.workspace)

    def _token(self) -> str:
        try:
            return self._settings.token_file.read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def _keep_looking(self) -> None:
        while True:
            self._watch.look()
            time.sleep(SAMPLE_SECONDS)

    def _status(self) -> Activity:
        used = self._watch.look()
        has_gpus = Path("/dev/nvidia0").exists()
        serving = sockets.listens(self._task.port)
        troubles = (kept.notice(), workspace.trouble(self._settings.workspace), self._memory.trouble())
        return Activity(
            attempt=self._task.attempt,
            serving=serving,
            unused_seconds=round(used.unused_seconds, 3),
            untouched_seconds=round(used.untouched_seconds, 3),
            used_by=used.by,
            trouble=" ".join(filter(None, troubles)),
            gpu_unseen=has_gpus and self._gpu() is None,
            dashboard=self._head.dashboard if self._head else "",
            said="" if serving or self._at_work is None else self._last_lines(self._at_work),
        )

    def _last_lines(self, worker: Worker) -> str:
        secrets = (self._token(), self._head.variables["RAY_AUTH_TOKEN"] if self._head else "")
        return said.last_lines(worker.tail.bytes(), secrets)

    def _clone(self) -> int | None:
        """Clone the spec's repository; return the exit code of a failure."""
        if not self._task.git:
            return None
        return self._failed(cloner_command(), self._around.of_commands(), "git: nothing was cloned.")

    def _failed(self, command: list[str], environ: dict[str, str], otherwise: str) -> int | None:
        """Run a step without which it is not what was asked for; return the exit code of a failure."""
        step = self._attend(Worker(command, environ, self._events, 0))
        if self._stopping:
            return pod.end(self._settings, Exit.PREEMPTED, _TOLD_TO_STOP)
        if step.exit_code == Exit.DONE:
            return None
        final = step.final or Final(Exit.INTERNAL, 0, message=otherwise)
        return pod.end(self._settings, final.code, final.message)

    def _install(self) -> int | None:
        """Install the spec's packages, and again those of the workspace; return the exit code of a failure.

        Without the packages of the workspace it is where a person can do something about them.
        """
        told = Packages.from_dict(self._task.packages)
        if told.wanted or told.requirements:
            ended = self._failed(
                installer_command(), self._around.installing(), "Packages were not installed."
            )
            if ended is not None:
                return ended
        self._around.settle()
        kept.set_notice("")
        if kept.read(self._settings.workspace).asked:
            restoring = self._attend(Worker(restorer_command(), self._around.of_commands(), self._events, 0))
            if self._stopping:
                return pod.end(self._settings, Exit.PREEMPTED, _TOLD_TO_STOP)
            if restoring.exit_code != Exit.DONE:
                why = restoring.final.message if restoring.final else "They were not installed."
                kept.set_notice(f"The packages of this workspace could not be restored. {why}")
        return None

    def _attend(self, worker: Worker) -> Worker:
        """Take what comes until the process has ended."""
        self._at_work = worker
        kill_at = None
        while worker.running:
            with contextlib.suppress(queue.Empty):
                received = self._events.get(timeout=1.0)
                if received == signal.SIGCHLD:
                    pod.reap([worker, *(self._head.workers if self._head else ())])
                elif isinstance(received, tuple) and self._head is not None:
                    self._head.hear(*received[1])
                elif received in (signal.SIGTERM, signal.SIGINT) and not self._stopping:
                    self._stopping = True
                    say("told to stop; the notebook's program ends")
                    for each in (worker, *(self._head.workers if self._head else ())):
                        each.send(signal.SIGTERM)
                    kill_at = time.monotonic() + _GRACE_SECONDS
            if kill_at is not None and time.monotonic() >= kill_at:
                worker.send(signal.SIGKILL)
            if self._head is not None and not self._stopping:
                self._head.keep()
        return worker

    def _judge(self, program: Worker) -> int:
        if self._stopping:
            return pod.end(self._settings, Exit.PREEMPTED, _TOLD_TO_STOP)
        how = f"signal {program.signal_name}" if program.signal_name else f"exit code {program.exit_code}"
        lines = self._last_lines(program)
        words = f"; its last lines: {lines}" if lines else " and said nothing."
        full = workspace.trouble(self._settings.workspace)
        told = f"The notebook's program ended with {how}{words}"
        return pod.end(self._settings, Exit.USER_CODE, f"{full} {told}" if full else told)


def main(environ: Mapping[str, str]) -> int:
    """Run a notebook's pod and return its exit code."""
    try:
        settings = Settings.from_environment(environ)
    except ContractError as error:
        say(f"{wiring.NOTEBOOK_ENV}: {error}")
        return int(Exit.INTERNAL)
    try:
        if settings.task.beside:
            place = settings.workspace, settings.status_port, settings.termination_log
            return beside.attend(settings.task, *place)
        return (Node if settings.task.head else NotebookSupervisor)(settings).run()
    except PortTakenError as error:
        say(str(error))
        final = Final(Exit.PORT_TAKEN, 0, settings.task.attempt, message=str(error))
        write_termination(final, settings.termination_log)
        return int(Exit.PORT_TAKEN)


def _resolved(command: list[str]) -> list[str]:
    """Return a command whose program is named by its path, as it would be found by a shell."""
    if "/" in command[0]:
        return command
    for folder in os.get_exec_path():
        path = Path(folder, command[0])
        if os.access(path, os.X_OK):
            return [str(path), *command[1:]]
    raise FileNotFoundError(2, "there is no such program in the image")
