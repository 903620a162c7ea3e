"""Programs are found again by pid and start time, never by pid alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE
from tools.cluster.namespaces import Entrance
from tools.cluster.processes import Process, Processes
from tools.steps import ToolError, wait_for

SLEEP = ["sleep", "600"]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    for record in (tmp_path / "run").glob("*.json"):
        made.stop(record.stem)


def test_a_program_is_found_by_another_run_and_stopped(processes: Processes) -> None:
    started = processes.start("one", SLEEP)
    assert Processes(processes.state).find("one") == started
    processes.stop("one")
    assert not started.alive
    assert processes.find("one") is None


def test_output_goes_to_the_log_and_the_state_folder_is_where_it_runs(processes: Processes) -> None:
    processes.start("one", ["sh", "-c", "pwd; echo bad >&2; exec sleep 60"])
    log = processes.log("one")
    wait_for("its output", lambda: None if "bad" in log.read_text() else "none", seconds=PATIENCE)
    assert log.read_text() == f"{processes.state}\nbad\n"


def test_a_pid_that_is_meanwhile_another_program_s_is_left_alone(processes: Processes) -> None:
    stranger = processes.start("stranger", SLEEP)
    record = processes.state / "run" / "one.json"
    record.write_text(json.dumps({"pid": stranger.pid, "started": stranger.started - 1}))
    assert processes.find("one") is None
    processes.stop("one")
    Process(stranger.pid, stranger.started - 1).kill()
    assert stranger.alive


def test_a_program_that_ignores_a_request_is_killed(processes: Processes) -> None:
    process = processes.start("one", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done"])
    log = processes.log("one")
    wait_for("the trap", lambda: None if "ready" in log.read_text() else "not set", seconds=PATIENCE)
    processes.stop("one", seconds=0.2)
    assert not process.alive


def test_a_zombie_is_not_alive(processes: Processes) -> None:
    child = subprocess.Popen(["true"])
    wait_for("a zombie", lambda: "it runs" if Process.of(child.pid) else None, seconds=PATIENCE)
    child.wait()


def test_what_runs_behind_an_entrance_is_what_is_remembered(processes: Processes) -> None:
    entrance = Entrance(("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", '"$@"; exit', "sh"), forks=1)
    process = processes.start("one", SLEEP, inside=entrance)
    wait_for(
        "sleep",
        lambda: None if b"sleep" in _command(process.pid) else "another program runs",
        seconds=PATIENCE,
    )
    processes.stop("one")


def test_an_entrance_that_fails_says_so(processes: Processes) -> None:
    entrance = Entrance(("sh", "-c", "echo 'Error: no such namespace'; exit 1", "sh"), forks=1)
    with pytest.raises(ToolError, match=r"one ended at once: Error: no such namespace \(log: .*one\.log\)"):
        processes.start("one", SLEEP, inside=entrance)


@pytest.mark.parametrize("last", ["signal.pause()", "os.kill(os.getpid(), 9)"], ids=["later", "at once"])
def test_programs_of_a_test_die_with_it(tmp_path: Path, last: str) -> None:
    script = (
        "import os, signal; from pathlib import Path; from tools.cluster.processes import Processes\n"
        f"processes = Processes(Path({str(tmp_path)!r}), die_with_parent=True)\n"
        f"print(processes.start('one', {SLEEP!r}).pid, flush=True)\n"
        f"{last}"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    child = Process.of(pid)
    parent.kill()
    parent.communicate()
    try:
        wait_for("the child's end", lambda: "it runs" if child and child.alive else None, seconds=PATIENCE)
    finally:
        if child:
            child.kill()


def test_a_start_time_is_a_time_of_the_clock() -> None:
    before = time.time()
    child = subprocess.Popen(SLEEP)
    try:
        process = Process.of(child.pid)
        assert process is not None
        assert before - 2 < process.started_at < time.time() + 2, "the kernel knows its own start by seconds"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
