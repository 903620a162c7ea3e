"""One worker: a child process, its output, its notes, its end."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from mlpools.contract.ends import Final
from mlpools.contract.reports import Note
from mlpools.contract.wiring import REPORT_FD_ENV
from mlpools.document import ContractError
from mlpools.supervisor.logs import Tail, pump, say

#: How long the output of an ended worker is waited for: a grandchild may hold the pipe open.
_DRAIN_SECONDS = 2.0


class Worker:
    """A started worker.

    Its notes arrive in ``events`` as ``("note", (worker, note))``; ``ended`` is told by whoever reaps.

    Attributes:
        heard: monotonic time of its last note.
        final: its own account of its end, None until it gave one.
        own_seconds: how long it itself works on a step, 0 until it said so.
        status: its wait status, None while it runs.
        killed: we killed it, so its signal says nothing.
    """

    def __init__(
        self, command: Sequence[str], environ: dict[str, str], events: queue.SimpleQueue[Any], rank: int
    ) -> None:
        self.rank = rank
        self.heard = time.monotonic()
        self.final: Final | None = None
        self.own_seconds = 0.0
        self.status: int | None = None
        self.killed = False
        self.tail = Tail()
        self._events = events
        output, child_output = os.pipe()
        notes, child_notes = os.pipe()
        os.set_inheritable(child_notes, True)
        self.pid = os.posix_spawn(
            command[0],
            list(command),
            {**environ, REPORT_FD_ENV: str(child_notes)},
            file_actions=[(os.POSIX_SPAWN_DUP2, child_output, 1), (os.POSIX_SPAWN_DUP2, child_output, 2)],
            setpgroup=0,
            setsigmask=(),
            setsigdef=(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE),
        )
        os.close(child_output)
        os.close(child_notes)
        self._threads = (pump(output, self.tail), self._listen(notes))

    @property
    def running(self) -> bool:
        """Whether its end was not reaped yet."""
        return self.status is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the worker; its children hear only SIGKILL."""
        if not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                self.killed = True
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    def ended(self, status: int) -> None:
        """Take note of its end: kill what it left behind and read its last words."""
        self.status = status
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join(_DRAIN_SECONDS)

    @property
    def signal_name(self) -> str:
        """Name of the signal that killed it, empty otherwise."""
        if self.status is None or not os.WIFSIGNALED(self.status):
            return ""
        number = os.WTERMSIG(self.status)
        try:
            return signal.Signals(number).name
        except ValueError:  # real-time signals have no names
            return f"signal {number}"

    @property
    def exit_code(self) -> int | None:
        """What it gave to exit(), None if it runs or was killed."""
        return os.WEXITSTATUS(self.status) if self.status is not None and os.WIFEXITED(self.status) else None

    def _listen(self, source: int) -> threading.Thread:
        thread = threading.Thread(target=self._hear, args=(source,), daemon=True)
        thread.start()
        return thread

    def _hear(self, source: int) -> None:
        with os.fdopen(source, "r", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    note = Note.from_json(line)
                    final = None if note.final is None else Final.from_dict(note.final)
                except ContractError as error:
                    say(f"a line of rank {self.rank} was not understood: {error}")
                    continue
                self.heard = time.monotonic()
                self.final = final or self.final
                self._events.put(("note", (self, note)))


def default_command() -> list[str]:
    """Return how a worker is started."""
    return [sys.executable, "-m", "mlpools.runtime"]


def installer_command() -> list[str]:
    """Return how packages are installed."""
    return [sys.executable, "-m", "mlpools.runtime.packages"]


def restorer_command() -> list[str]:
    """Return how the packages of a notebook's workspace are installed again."""
    return [sys.executable, "-m", "mlpools.notebook.packages"]


def fetcher_command() -> list[str]:
    """Return how a job's own code is fetched."""
    return [sys.executable, "-m", "mlpools.runtime.code"]


def cloner_command() -> list[str]:
    """Return how a repository is cloned into a notebook's workspace."""
    return [sys.executable, "-m", "mlpools.notebook.clone"]


def fabric_command() -> list[str]:
    """Return how the network between the ranks is measured, by as many processes as there will be workers."""
    return [sys.executable, "-m", "mlpools.runtime.fabric"]
