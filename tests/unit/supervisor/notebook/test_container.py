"""What the kernel says of real processes, terminals and connections."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlpools.supervisor.notebook import processes, sockets, workspace
from mlpools.supervisor.notebook.memory import Memory
from mlpools.supervisor.notebook.said import last_lines
from tests.support.waiting import PATIENCE


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def _line(ticks: tuple[int, int, int, int], *, parent: int = 1, session: int = 1, terminal: int = 0) -> str:
    head = f"S {parent} {session} {session} {terminal} -1 0 0 0 0 0"
    return f"7 (a ) name) {head} {' '.join(map(str, ticks))} 20 0 1 0 100 0 0"


def make(proc: Path, pid: int, line: str, *words: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(line)
    (proc / str(pid) / "cmdline").write_bytes("\0".join(words).encode())


def test_cpu_is_counted_whoever_has_reaped_whom_but_for_the_supervisor_and_rays_daemons(
    tmp_path: Path,
) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    make(tmp_path, 1, _line((1000 * ticks, 0, 3 * ticks, 0)), "python", "-m", "mlpools.supervisor")
    make(tmp_path, 2, _line((2 * ticks, ticks, 4 * ticks, 0)), "python", "train.py")
    make(tmp_path, 3, _line((500 * ticks, 0, 0, 0)), "/opt/ray/raylet")
    make(tmp_path, 4, _line((500 * ticks, 0, 0, 0)), "python", "/x/ray/dashboard/dashboard.py")
    make(tmp_path, 5, _line((8 * ticks, 0, 0, 0)), "ray::train_step")
    make(tmp_path, 6, _line((500 * ticks, 0, 0, 0)), "python", "-m", "mlpools.notebook.ray_head")
    make(tmp_path, 7, _line((500 * ticks, 0, 0, 0)), "python", "-m", "ray.scripts.scripts", "start")
    (tmp_path / "meminfo").touch()
    assert processes.snapshot(tmp_path, own=1).seconds == 3 + 7 + 8


def test_a_terminal_runs_something_if_its_shell_has_company(tmp_path: Path) -> None:
    make(tmp_path, 1, _line((0, 0, 0, 0)), "supervisor")
    make(tmp_path, 10, _line((0, 0, 0, 0), session=10, terminal=34816), "bash")
    assert processes.snapshot(tmp_path, own=1).terminals == 0
    make(tmp_path, 11, _line((0, 0, 0, 0), parent=10, session=10, terminal=34816), "sleep", "9")
    assert processes.snapshot(tmp_path, own=1).terminals == 1


def test_a_real_terminal() -> None:
    before = processes.snapshot().terminals
    child, master = pty.fork()
    if child == 0:
        os.execv("/bin/sh", ["sh"])
    try:
        os.write(master, b"sleep 100\n")
        until(lambda: processes.snapshot().terminals > before)
        os.write(master, b"\x03")
        until(lambda: processes.snapshot().terminals <= before)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(master)


def test_bytes_of_a_real_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as there,
    ):
        here, _ = server.accept()
        with here:
            there.sendall(b"x" * 12_345)
            got = 0
            while got < 12_345:
                got += len(here.recv(65_536))
            port = server.getsockname()[1]
            (found,) = [it for it in sockets.connections() if it.port == port]
            assert (found.received, found.local, found.peer) == (12_345, True, "127.0.0.1")
            (other,) = [it for it in sockets.connections() if it.port == there.getsockname()[1]]
            assert other.sent - 12_345 in (0, 1)  # the kernel counts the SYN as a byte


def test_a_real_process_that_computes() -> None:
    before = processes.snapshot().seconds
    code = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert processes.snapshot().seconds - before >= 0.4  # it has ended, and counts all the same


def test_a_workspace_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    assert workspace.not_writable(tmp_path) == ""
    assert "cannot be written" in workspace.not_writable(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def disk(*, free: int, kept: int = 0, files: int = 1000, free_files: int = 1000) -> os.statvfs_result:
    """A file system of 100 MiB, of which so many are free, and root keeps some of those."""
    return os.statvfs_result((2**20, 2**20, 100, free, free - kept, files, free_files, free_files, 0, 255))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (disk(free=10), ""),
        (disk(free=4), "nearly full: 4 MiB are left"),
        # ext4 keeps five of a hundred for root: nobody else can write any more once 95 are used.
        (disk(free=9, kept=5), "nearly full: 4 MiB are left"),
        (disk(free=90, free_files=20), "can take only 20 more files"),
        (disk(free=90, files=0, free_files=0), ""),
    ],
)
def test_a_workspace_that_is_nearly_full_is_told_of(
    found: os.statvfs_result, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workspace.os, "statvfs", lambda _: found)
    assert said in (workspace.trouble(tmp_path) or "nothing")
    assert bool(workspace.trouble(tmp_path)) == bool(said)


def test_a_program_that_was_ended_for_its_memory_is_told_of_with_the_limit(tmp_path: Path) -> None:
    kills, limit = tmp_path / "memory.events", tmp_path / "memory.max"
    kills.write_text("oom 3\noom_kill 3\n")
    limit.write_text(f"{3 << 29}\n")
    memory = Memory(tmp_path)
    assert memory.trouble() == ""
    kills.write_text("oom 4\noom_kill 4\n")
    assert memory.trouble().startswith("It ran out of memory at the limit of 1.5 GiB, and the system ended ")
    limit.write_text("max\n")
    assert memory.trouble().startswith("It ran out of memory at the limit, and the system ended ")


def test_the_last_lines_of_a_program_without_what_opens_the_notebook() -> None:
    output = b"\n".join([b"first", b"", b"http://host/?token=sesame", b"waits \xff", b""])
    assert last_lines(output, ["sesame", ""]) == "first / http://host/?token=… / waits \ufffd"
    assert last_lines(b"", ["sesame"]) == ""
    long = last_lines(b"x" * 1000 + b" the end", [])
    assert long.startswith("…x")
    assert long.endswith(" the end")
