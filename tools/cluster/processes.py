"""Starting, finding again and stopping programs that outlive the Python process that started them.

A program is remembered by its pid and its start time (a pid alone may meanwhile be another
program's), so the next `up` finds what the last one started, and `down` never hits a stranger.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.namespaces import HERE, Entrance, entrance
from tools.steps import ToolError, last_line, wait_for


@dataclass(frozen=True)
class Process:
    """One running program, as the kernel knows it."""

    pid: int
    started: int  # clock ticks since boot

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The program with this pid; None where there is none or it is a zombie.

        A killed program's first thread may be a zombie while others still hold its port.
        """
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
        state, threads, started = fields[0], int(fields[17]), int(fields[19])
        return None if state in "ZX" and threads <= 1 else cls(pid, started)

    @property
    def started_at(self) -> float:
        """When it started, in seconds since the epoch."""
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - uptime + self.started / os.sysconf("SC_CLK_TCK")

    @property
    def alive(self) -> bool:
        """Whether this very program still runs."""
        _reap(self.pid)
        return Process.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal, to this program or to nobody."""
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it and wait until it is gone: until then it holds its ports and files."""
        self.send(signal.SIGKILL)
        wait_for(f"killing {self.pid}", lambda: "it runs" if self.alive else None, seconds=30, every=0.01)

    def children(self) -> list[int]:
        """The pids of what it started."""
        try:
            return [
                int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError):
            return []


@dataclass(frozen=True)
class Processes:
    """The programs of one state folder: `run/<name>.json` and `logs/<name>.log`.

    Attributes:
        state: The folder.
        die_with_parent: Have the kernel kill them when the thread that starts them ends.
    """

    state: Path
    die_with_parent: bool = False

    def log(self, name: str) -> Path:
        """Where a program's output goes."""
        return self.state / "logs" / f"{name}.log"

    def start(self, name: str, command: Sequence[str | Path], *, inside: Entrance = HERE) -> Process:
        """Start a program in the background; the log of its run before is kept as `.log.1`.

        Args:
            name: What it is found by later.
            command: The program and its arguments; run in the state folder.
            inside: The namespaces to run it in.
        """
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        if self.log(name).exists():
            self.log(name).rename(self.log(name).with_suffix(".log.1"))
        pid = self._spawn([*inside.command, "env", "-C", str(self.state), *map(str, command)], self.log(name))
        for _ in range(inside.forks):
            pid = self._child(name, pid)
        process = Process.of(pid)
        if process is None:
            raise self.failure(name)
        self._record(name).parent.mkdir(parents=True, exist_ok=True)
        self._record(name).write_text(json.dumps({"pid": process.pid, "started": process.started}))
        return process

    def find(self, name: str) -> Process | None:
        """The program of that name, if it still runs."""
        try:
            process = Process(**json.loads(self._record(name).read_text()))
        except (FileNotFoundError, ValueError):
            return None
        return process if process.alive else None

    def inside(self, name: str, whole: str) -> Entrance:
        """The way into the namespaces of which that program is pid 1.

        Args:
            name: The program.
            whole: What runs there, for a person.

        Raises:
            ToolError: it does not run.
        """
        process = self.find(name)
        if process is None:
            raise ToolError(f"{whole} does not run; `python -m tools.cluster up` starts it.")
        return entrance(process.pid)

    def stop(self, name: str, *, seconds: float = 5) -> None:
        """Ask a program to end, kill it where it does not, and forget it."""
        process = self.find(name)
        if process is not None:
            process.send(signal.SIGTERM)
            try:
                wait_for(f"stopping {name}", lambda: "it runs" if process.alive else None, seconds=seconds)
            except ToolError:
                process.kill()
        self._record(name).unlink(missing_ok=True)

    def failure(self, name: str) -> ToolError:
        """What to say of a program that ended."""
        return ToolError(f"{name} ended at once: {last_line(self.log(name))} (log: {self.log(name)})")

    def _record(self, name: str) -> Path:
        return self.state / "run" / f"{name}.json"

    def _spawn(self, command: list[str], log: Path) -> int:
        if self.die_with_parent:
            command = [*_dying_with(os.getpid()), *command]
        output = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), output, (os.POSIX_SPAWN_DUP2, 1, 2)]
        # A session of its own: Ctrl-C in the terminal is for the command line, not for the cluster.
        return os.posix_spawnp(command[0], command, dict(os.environ), file_actions=actions, setsid=True)

    def _child(self, name: str, parent: int) -> int:
        entered = Process.of(parent)
        found: list[int] = []

        def missing() -> str | None:
            if entered is None or not entered.alive:
                raise self.failure(name)
            found.extend(entered.children())
            return None if found else "it has not been started"

        wait_for(f"starting {name}", missing, seconds=10, every=0.01)
        return found[0]


def _dying_with(parent: int) -> list[str]:
    """What goes before a command that has to die with its parent.

    A parent that ended before the kernel was asked is noticed by the look afterwards (prctl(2),
    PR_SET_PDEATHSIG): the kernel itself tells of later ends only.
    """
    look = '[ "$PPID" = "$0" ] || kill -s KILL $$; exec "$@"'
    return ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", look, str(parent)]


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # started by another run of this program
        os.waitpid(pid, os.WNOHANG)
