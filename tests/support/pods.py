"""Runs a gang of real supervisors and workers on this machine, as a cluster's pods would."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlpools.contract.ends import Final
from mlpools.contract.reports import Report
from mlpools.contract.tasks import Task
from mlpools.supervisor.status import ask
from tests.support.hosts import Hosts
from tests.support.waiting import PATIENCE
from tools.cluster.addresses import PORTS

_ROOT = Path(__file__).parents[2]
_START = (
    "import sys, time; time.sleep(float(sys.argv[1]))\n"
    "from mlpools.supervisor.__main__ import main; sys.exit(main(sys.argv[2:] or None))"
)


#: Names that hold the ports which this process was given last; by then the others have been used.
_claims: deque[socket.socket] = deque()
_CLAIMS = 200


def free_ports(count: int) -> list[int]:
    """Return ports that no other test of this machine gets meanwhile."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().choice(PORTS)
        if _claim(port):
            ports.append(port)
    return ports


def _claim(port: int) -> bool:
    """Take a free port's name, which only one process of this network can have."""
    claim = socket.socket(socket.AF_UNIX)
    _claims.append(claim)
    while len(_claims) > _CLAIMS:
        _claims.popleft().close()
    with socket.socket() as probe:
        try:
            claim.bind(f"\0mlpools-test-port-{port}")
            probe.bind(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "the condition") -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")


@dataclass
class Pod:
    """One supervisor, in a process of its own."""

    rank: int
    port: int
    process: subprocess.Popen[bytes]
    termination: Path
    log: Path

    def report(self) -> Report | None:
        try:
            return Report.from_json(ask("127.0.0.1", self.port, "GET", "/status"))
        except OSError:
            return None

    def step(self) -> int:
        report = self.report()
        return report.step if report else 0

    @property
    def final(self) -> Final:
        return Final.from_json(self.termination.read_text())

    def worker(self) -> int:
        """Return the process id of the first worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(wait_for(lambda: children.read_text().split(), what="a worker")[0])

    def kill(self) -> None:
        """Kill supervisor and worker at once, as the loss of a machine does."""
        worker = self.worker()
        os.kill(self.process.pid, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)

    def output(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Pods:
    """A gang. Use it as a context manager: nothing of it outlives the test."""

    task: Task
    folder: Path
    command: Sequence[str] = ()
    environ: dict[str, str] = field(default_factory=dict)
    subreaper: bool = False  # adopt orphans, as PID 1 of a container does
    late: dict[int, float] = field(default_factory=dict)  # rank -> seconds until its pod starts
    of_rank: dict[int, dict[str, str]] = field(default_factory=dict)  # variables of one rank only
    held: frozenset[int] = frozenset()  # ranks that ``release`` starts
    hosts: Hosts | None = None  # one a rank, reached by the others only; else all share this machine's
    pods: list[Pod] = field(default_factory=list)

    def __enter__(self) -> Pods:
        self.folder.mkdir(parents=True, exist_ok=True)
        coordinator, *self._ports = free_ports(self.task.nodes + 1)
        self._environ = {
            **os.environ,
            "PYTHONPATH": str(_ROOT / "workloads"),
            "MLPOOLS_TASK": self.task.to_json(),
            "MLPOOLS_COORDINATOR_PORT": str(coordinator),
            "MLPOOLS_LEADER_PORT": str(self._ports[0]),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # compiling XGBoost's imports anew costs each worker a second
        }
        self.release({*range(self.task.nodes)} - self.held)
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.pods:
            if pod.process.poll() is None:
                pod.kill()
            pod.process.wait()

    def __getitem__(self, rank: int) -> Pod:
        return self.pods[rank]

    def release(self, ranks: Set[int]) -> None:
        """Start the pods of some ranks."""
        self.pods.extend(self._start(rank) for rank in sorted(ranks))
        self.pods.sort(key=lambda pod: pod.rank)

    def _start(self, rank: int) -> Pod:
        termination, log = self.folder / f"termination-{rank}", self.folder / f"log-{rank}"
        environ = {
            **self._environ,
            "JOB_COMPLETION_INDEX": str(rank),
            "MLPOOLS_STATUS_PORT": str(self._ports[rank]),
            "MLPOOLS_TERMINATION_LOG": str(termination),
            **({"MLPOOLS_POD_IP": self.hosts.address(rank)} if self.hosts else {}),
            **self.environ,
            **self.of_rank.get(rank, {}),
        }
        way_in = self.hosts.inside[rank].command if self.hosts else ()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*way_in, sys.executable, "-c", _START, str(self.late.get(rank, 0.0)), *self.command],
                env=environ,
                stdout=output,
                stderr=output,
                preexec_fn=_adopt_orphans if self.subreaper else None,
            )
        return Pod(rank, self._ports[rank], process, termination, log)

    def ended(self) -> bool:
        """Return whether one of them has ended."""
        return any(pod.process.poll() is not None for pod in self.pods)

    def wait(self, seconds: float = PATIENCE) -> list[Final]:
        """Wait for all pods that run and return how each ended."""
        deadline = time.monotonic() + seconds
        for pod in self.pods:
            pod.process.wait(max(0.1, deadline - time.monotonic()))
        return [pod.final for pod in self.pods if pod.termination.exists()]


def _adopt_orphans() -> None:
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER, kept over exec


def task(output: Path, /, *, nodes: int = 1, **changes: Any) -> Task:
    """Return a small task; its checkpoints lie below the output."""
    base = Task(
        namespace="team-a",
        name="job",
        uid="uid-1",
        attempt=1,
        nodes=nodes,
        coordinator="127.0.0.1",
        framework="xgboost",
        spec={"rounds": 10, "objective": "reg:squarederror", "params": {"max_depth": 3}, "label": "y"},
        data={},
        output={"url": f"file://{output}", "mode": "Error"},
        checkpoint={"url": f"file://{output}/checkpoints", "everySeconds": 300, "keep": 2},
        hang_timeout_seconds=60,
        grace_period_seconds=20,
    )
    return replace(base, **changes)


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def read_history(output: Path) -> dict[str, list[Any]]:
    """Return each column of an output's ``metrics.jsonl``."""
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return {name: [row[name] for row in rows] for name in rows[0]}


def fake_worker(script: str) -> list[str]:
    """Return the command of a worker without mlpools; the script may use ``note``, ``end`` and ``RANK``."""
    return [sys.executable, "-I", "-S", "-c", _FAKE + script]


_FAKE = """
import json, os, signal, sys, time
RANK = int(os.environ["RANK"])
def note(**fields):
    os.write(int(os.environ["MLPOOLS_REPORT_FD"]), json.dumps(fields).encode() + b"\\n")
def end(code, message=""):
    note(final={"code": code, "rank": RANK, "message": message})
    os._exit(code)
"""
