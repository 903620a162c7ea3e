"""Gangs of processes on this machine: what they end with, and that nothing of them is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools.contract.tasks import Task
from mlpools.errors import DataNotReadable, JobError, OutputExists, PeerLost, WorkerCrashed
from mlpools.train.launchers import local
from mlpools.train.launchers.local import Watcher, outcome, run_locally
from mlpools.train.launchers.pod import Pod, Seat
from mlpools.train.reporter import Reporter
from tests.support.flights import spec, write_flights
from tests.support.pods import task, wait_for
from tests.support.waiting import PATIENCE

_ROOT = Path(__file__).parents[2]
#: Waits until training has begun, and then says so.
_CALLER = """
import sys
from pathlib import Path
from mlpools.contract.tasks import Task
from mlpools.train.launchers.local import Watcher, run_locally
class Told(Watcher):
    def report(self, report):
        if report.step:
            print("training", flush=True)
run_locally(Task.from_json(sys.argv[1]), folder=Path(sys.argv[2]), watcher=Told())
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_flights(tmp_path_factory.mktemp("flights"), 1_000)


def endless(folder: Path, data: dict[str, Any], **changes: Any) -> Task:
    """A training that does not end by itself, under a name that no other process has."""
    work = task(folder / "out", spec=spec(rounds=1_000_000), data=data, **changes)
    return replace(work, uid=uuid.uuid4().hex)


def processes_of(work: Task) -> dict[int, list[str]]:
    """Return the running processes whose environment holds a task, with their arguments."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and work.uid.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return found


def workers_of(work: Task) -> list[int]:
    return sorted(pid for pid, words in processes_of(work).items() if "mlpools.runtime" in words)


@contextmanager
def caller(work: Task, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program that runs a task, at the moment when it trains."""
    words = [sys.executable, "-c", _CALLER, work.to_json(), str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=_ROOT / "workloads")
    assert process.stdout is not None
    try:
        with process.stdout:
            assert process.stdout.readline() == "training\n"
            yield process
    finally:
        process.kill()
        process.wait()
        for pid in processes_of(work):
            os.kill(pid, signal.SIGKILL)


class Saboteur(Watcher):
    """Kills one process of a gang once it trains."""

    def __init__(self, work: Task, words: str, index: int) -> None:
        self._work, self._words, self._index = work, words, index
        self.done = False

    def report(self, report: Report) -> None:
        if report.step and not self.done:
            self.done = True
            found = sorted(pid for pid, words in processes_of(self._work).items() if self._words in words)
            os.kill(found[self._index], signal.SIGKILL)


def test_a_failure_reaches_the_caller_with_its_rank_and_cause(data: dict[str, Any], tmp_path: Path) -> None:
    work = task(tmp_path / "out", workers_per_node=2, spec=spec(label="arr_dely"), data=data)
    lines: list[str] = []
    watcher = Watcher()
    watcher.line = lambda rank, text: lines.append(f"{rank}: {text}")  # type: ignore[method-assign]
    with pytest.raises(DataNotReadable, match=r"^Rank 0: The label 'arr_dely' .* Did you mean 'arr_delay'\?"):
        run_locally(work, folder=tmp_path, watcher=watcher)
    assert any("arr_dely" in line and line.startswith("0: mlpools: ") for line in lines)


@pytest.mark.parametrize("whose", [0, 1], ids=["the rendezvous", "a supervisor"])
def test_a_port_that_another_program_took_meanwhile_is_exchanged(
    whose: int, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = task(tmp_path / "out", nodes=2, spec=spec(rounds=2), data=data)
    ended: list[Final] = []
    watcher = Watcher()
    watcher.ended = ended.append  # type: ignore[method-assign]
    with socket.create_server(("", 0)) as stranger:
        free = local.free_ports

        def taken_at_first(address: str, count: int) -> list[int]:
            ports = free(address, count)
            if not ended:
                ports[whose] = stranger.getsockname()[1]
            return ports

        monkeypatch.setattr(local, "free_ports", taken_at_first)
        final = run_locally(work, folder=tmp_path, watcher=watcher)
    assert final.code == Exit.DONE
    assert Exit.PORT_TAKEN in [it.code for it in ended[:2]], ended
    assert len(ended) == 4, "a second gang, and no third"


def test_a_rank_that_fails_before_the_others_came_ends_them(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text("{}")
    started: list[Pod] = []

    def late(task: Task, seat: Seat, *others: Any) -> Pod:
        for pod in started:
            pod.wait(PATIENCE)
        started.append(start(task, seat, *others))
        return started[-1]

    start = local._start
    monkeypatch.setattr(local, "_start", late)
    with pytest.raises(OutputExists):
        run_locally(endless(tmp_path, data, nodes=2), folder=tmp_path)
    assert not any(pod.running for pod in started)


def test_a_killed_rank_ends_the_gang(data: dict[str, Any], tmp_path: Path) -> None:
    work = endless(tmp_path, data, workers_per_node=2)
    with pytest.raises(WorkerCrashed, match=r"The process of rank \d was killed by SIGKILL"):
        run_locally(work, folder=tmp_path, watcher=Saboteur(work, "mlpools.runtime", 1))
    assert not processes_of(work)


def test_workers_do_not_outlive_a_killed_supervisor(data: dict[str, Any], tmp_path: Path) -> None:
    work = endless(tmp_path, data)
    with pytest.raises(WorkerCrashed, match=r"The supervisor of rank 0 ended by SIGKILL without a word\."):
        run_locally(work, folder=tmp_path, watcher=Saboteur(work, "mlpools.supervisor", 0))
    wait_for(lambda: not processes_of(work), what="the end of the worker")


def test_a_worker_that_reports_nothing_notices_the_end_of_its_supervisor() -> None:
    reading, writing = os.pipe()
    ended = threading.Event()
    reporter = Reporter(writing)
    assert reporter._pipe is not None
    with reporter._pipe:
        reporter.when_alone(ended.set)
        assert not ended.is_set()
        os.close(reading)
        assert ended.wait(PATIENCE)


def test_ctrl_c_saves_the_last_round_and_ends_everything(data: dict[str, Any], tmp_path: Path) -> None:
    work = endless(tmp_path, data)
    with caller(work, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        assert process.returncode == -signal.SIGINT
        assert not processes_of(work)
    assert list((tmp_path / "out/checkpoints").glob("*/step-*/COMMIT"))


def test_nothing_outlives_a_killed_caller(data: dict[str, Any], tmp_path: Path) -> None:
    work = endless(tmp_path, data)
    with caller(work, tmp_path) as process:
        assert workers_of(work)
        process.kill()
        wait_for(lambda: not processes_of(work), what="the end of supervisor and worker")


def test_of_several_ends_the_cause_is_told() -> None:
    lost = Final(Exit.PEER_LOST, 0, message="Rank 1 ended: Column 'x' is text.")
    cause = Final(Exit.DATA_NOT_READABLE, 1, message="Column 'x' is text.")
    with pytest.raises(DataNotReadable, match=r"^Rank 1: Column 'x' is text\.$"):
        outcome([lost, cause])
    with pytest.raises(PeerLost, match=r"^Rank 1 ended"):
        outcome([lost, Final(Exit.DONE, 1)])
    with pytest.raises(JobError, match="a bug") as caught:
        outcome([Final(Exit.INTERNAL, 0, message="a bug", traceback="File x, line 3")])
    assert caught.value.__notes__ == ["File x, line 3"]
    assert outcome([Final(Exit.DONE, 0, step=3), Final(Exit.DONE, 1)]).step == 3
