"""A pod without Kubernetes: one supervisor with its workers, which end with whoever started them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from mlpools.contract import wiring
from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools.contract.tasks import Task
from mlpools.document import ContractError
from mlpools.supervisor.status import ask

#: The supervisor's own deadline for workers that lost their launcher, and a moment to say goodbye.
_END_SECONDS = 8.0
#: How long the output of an ended supervisor is waited for: a grandchild may hold the pipe open.
_DRAIN_SECONDS = 2.0

#: Hears every line that a pod's workers and its supervisor write.
Listener = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Seat:
    """Where one pod of a gang is.

    Attributes:
        rank: node rank, 0 … ``task.nodes`` - 1.
        address: at which the other pods reach this one.
        status_port: where its supervisor answers.
        leader_port: where rank 0's supervisor answers.
        coordinator_port: where rank 0's first worker opens the framework's rendezvous.
    """

    rank: int
    address: str
    status_port: int
    leader_port: int
    coordinator_port: int

    def environment(self, task: Task, termination: Path) -> dict[str, str]:
        """Return what the operator would set in this pod."""
        return {
            wiring.TASK_ENV: task.to_json(),
            wiring.RANK_ENV: str(self.rank),
            wiring.POD_IP_ENV: self.address,
            wiring.STATUS_PORT_ENV: str(self.status_port),
            wiring.LEADER_PORT_ENV: str(self.leader_port),
            wiring.COORDINATOR_PORT_ENV: str(self.coordinator_port),
            wiring.TERMINATION_LOG_ENV: str(termination),
            # A worker imports what its caller could: functions travel by the names of their modules.
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        }


class Pod:
    """A started supervisor. It and its workers end soon after this process does, however that ends."""

    def __init__(
        self, task: Task, seat: Seat, folder: Path, *, environ: Mapping[str, str], listener: Listener
    ) -> None:
        """Start a pod.

        Args:
            task: of its gang.
            seat: of this pod.
            folder: for its last words and the job's own code; it must be there.
            environ: beside what every pod of a gang gets; this process's own is inherited.
            listener: called in a thread with every line of its output.
        """
        self.rank = seat.rank
        self._seat = seat
        self._termination = folder / f"termination-{seat.rank}"
        held, self._lifeline = os.pipe()
        variables = {
            **os.environ,
            **seat.environment(task, self._termination),
            wiring.CODE_ENV: str(folder / f"code-{seat.rank}"),
            **environ,
            wiring.LIFELINE_FD_ENV: str(held),
        }
        with os.fdopen(held, "rb"):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlpools.supervisor"],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(held,),
                process_group=0,  # Ctrl-C is for the caller, who passes it on in good order
            )
        self._reader = threading.Thread(target=self._read, args=(listener,), daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        """Whether the supervisor has not ended yet."""
        return self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether the supervisor has ended, and not well."""
        return self._process.poll() not in (None, 0)

    def wait(self, seconds: float) -> None:
        """Wait until the supervisor has ended, but not longer than so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def report(self) -> Report | None:
        """Return how far the pod is, or None if it cannot be asked at the moment."""
        try:
            return Report.from_json(ask(self._seat.address, self._seat.status_port, "GET", "/status"))
        except (OSError, ContractError):
            return None

    def stop(self) -> None:
        """Tell the pod, and with it the gang, to stop at the next boundary."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End whatever still runs, and free what the pod holds."""
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        self.wait(_END_SECONDS)
        if self.running:
            self._process.kill()  # its workers notice
            self._process.wait()
        self._reader.join(_DRAIN_SECONDS)

    def final(self) -> Final:
        """Return how an ended pod ended."""
        try:
            return Final.from_json(self._termination.read_text(encoding="utf-8"))
        except (OSError, ContractError):
            code = self._process.returncode
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            message = f"The supervisor of rank {self.rank} ended {how} without a word."
            return Final(Exit.SIGNAL, self.rank, message=message)

    def _read(self, listener: Listener) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                listener(line.decode(errors="replace").rstrip("\n"))


def free_ports(address: str, count: int) -> list[int]:
    """Return ports of this machine that nobody listens at; another program may still take one.

    Args:
        address: of this machine.
        count: how many.
    """
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((address, 0))) for _ in range(count)]
        return [int(item.getsockname()[1]) for item in sockets]
