"""Pods of a batch inference as forks of one process that has imported everything.

Each is a group of processes as a pod has them: the rank, and the worker that its keeper starts. Only the
start of a process differs from the real thing: a fork costs a hundredth of it, so there can be a run for each
step at which a process may die.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from mlpools import inference
from mlpools.contract.ends import Final
from mlpools.contract.reports import Phase, Report
from mlpools.contract.tasks import Task
from mlpools.contract.wiring import TASK_ENV
from mlpools.errors import JobError
from mlpools.gang import Gang
from mlpools.inference import asking, follow, keeper, lead, ledger, predictor
from mlpools.supervisor.status import StatusServer
from mlpools.train.job import Job
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from tests.support.pods import free_ports, wait_for
from tests.support.steps import Act, Steps
from tests.support.waiting import PATIENCE

_ROOT = Path(__file__).parents[2]
_MESSAGE_BYTES = 1 << 18
#: What workers import late, and what would take most of a short run.
_HEAVY = ("obstore", "pyarrow.dataset", "pyarrow.parquet", "mlpools.storage.remote", "tests.support.doubling")
RANK, WORKER = "rank", "worker"


@dataclasses.dataclass(frozen=True)
class At:
    """What happens at a step of one process of a pod.

    Attributes:
        who: the rank itself, or its worker.
        step: see ``Steps``.
        act: what happens.
    """

    who: str
    step: str
    act: Act


@dataclasses.dataclass
class ForkedPod:
    """A pod that was started.

    Attributes:
        pid: of its rank, which is also the name of its group.
        final: where its end is told.
    """

    pid: int
    final: Path

    def wait(self, seconds: float = PATIENCE) -> Final | None:
        """Wait for its end and return how it ended; None if it was killed."""
        assert ended(self.pid, seconds), f"{self.final.name} did not come within {seconds} s"
        return Final.from_json(self.final.read_text()) if self.final.exists() else None

    def kill(self) -> None:
        """End all of its processes at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        ended(self.pid, PATIENCE)


def ended(pid: int, seconds: float) -> bool:
    """Wait until a process that need not be a child has ended; return whether it has."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


class Forks:
    """Starts pods. A context manager.

    Attributes:
        door: port at which a supervisor would give the job's own pods their token.
    """

    def __enter__(self) -> Self:
        self._groups: list[int] = []
        [self.door] = free_ports(1)
        report = Report(attempt=1, phase=Phase.WORKING.value).to_json()
        routes = {("POST", "/token"): _token, ("GET", "/status"): lambda _: report}
        self._server = StatusServer(self.door, routes)
        path = os.pathsep.join([str(_ROOT / "workloads"), str(_ROOT)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked_pods"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            cwd=_ROOT,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        for group in self._groups:  # of a test that failed, some may be left
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._process.communicate(timeout=PATIENCE)
        self._server.close()

    def start(self, folder: Path, task: Task, port: int, *, rank: int = 0, at: At | None = None) -> ForkedPod:
        """Start the pod of a rank.

        Args:
            folder: of the run.
            task: what to do.
            port: of rank 0's dispenser.
            rank: which one.
            at: what happens to one of its processes.
        """
        order = {
            "folder": str(folder), "task": task.to_json(), "port": port, "rank": rank, "door": self.door,
            "at": dataclasses.asdict(at) if at else {},
        }  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        pid = int(self._process.stdout.readline())
        self._groups.append(pid)
        return ForkedPod(pid, folder / f"final-{task.attempt}-{rank}")


def _token(body: bytes) -> str:
    return json.dumps({"token": f"token-{json.loads(body)['attempt']}"})


class _Forked:
    """Stands in for ``Popen``: the nursery forks, since this process has threads by now."""

    nursery: socket.socket

    def __init__(self, command: Any, env: Mapping[str, str], **_: Any) -> None:
        self.nursery.send(json.dumps(dict(env)).encode())
        self.pid = int(self.nursery.recv(_MESSAGE_BYTES))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.nursery], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self.nursery.recv(_MESSAGE_BYTES))
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _nursery(orders: socket.socket, steps: Steps) -> None:
    """Fork a worker for each environment that comes in, and tell how it ended; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while environ := orders.recv(_MESSAGE_BYTES):
        pid = os.fork()
        if pid == 0:
            orders.close()
            os.environ.clear()
            os.environ.update(json.loads(environ))
            steps.install()
            predictor.main()
        orders.send(str(pid).encode())
        orders.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def _pod(order: Mapping[str, Any]) -> None:
    """Be one rank of a job; never returns."""
    os.setpgid(0, 0)
    folder, rank, task = Path(order["folder"]), order["rank"], Task.from_json(order["task"])
    with (folder / f"log-{task.attempt}-{rank}").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    tempfile.tempdir = str(folder)
    os.environ[TASK_ENV] = task.to_json()
    at = order["at"] or {"who": "", "step": "", "act": "kill"}

    def steps(who: str) -> Steps:
        step = at["step"] if at["who"] == who else ""
        return Steps(f"{who}-{rank}", folder, task.output["url"], step, at["act"])

    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        here.close()
        _nursery(there, steps(WORKER))
    there.close()
    _Forked.nursery = here
    vars(keeper)["subprocess"] = SimpleNamespace(Popen=_Forked, DEVNULL=subprocess.DEVNULL)
    steps(RANK).install()
    gang = Gang(rank, task.nodes, port=order["port"], leader_port=order["door"])
    try:
        final = inference.run(Job(task, gang, Reporter(), Stop(60)))
    except JobError as error:
        final = Final(error.code, rank, message=str(error))
    (folder / "writing").write_text(final.to_json())
    (folder / "writing").rename(folder / f"final-{task.attempt}-{rank}")
    os._exit(final.code)


def _hurry() -> None:
    """Have everything that waits for the silence of others wait for a moment only."""
    for module, name, value in (
        (ledger, "LEASE_SECONDS", 0.6),
        (ledger, "_UNKNOWN_SECONDS", 0.2),
        (ledger, "_SLOW_SECONDS", 0.2),
        (keeper, "_BEAT_SECONDS", 0.1),
        (asking, "LOST_SECONDS", 1.0),
        (asking, "_ANSWER_SECONDS", PATIENCE),  # who is gone refuses; who is only slow answers
        (lead, "LOOK_SECONDS", 0.01),
        (follow, "LOOK_SECONDS", 0.01),
        (os, "fsync", lambda _: None),  # what a killed process wrote is in the page cache
    ):
        assert hasattr(module, name)
        setattr(module, name, value)


def main() -> None:
    """Fork a pod for each line that comes in, and say its process id."""
    for module in _HEAVY:
        importlib.import_module(module)
    _hurry()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            _pod(json.loads(line))
        print(pid, flush=True)  # noqa: T201 - to its own starter


def stopped(folder: Path) -> int:
    """Wait until a process has stopped at its step, and return its id."""
    return int(wait_for(lambda: _text(folder / "stopped"), what="a stop"))


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    main()
