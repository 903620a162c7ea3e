"""The processes of the container, from ``/proc``: how much they compute, which terminals run something."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
#: They compute a little for ever, whether anybody uses Ray or not.
_DAEMONS = ("raylet", "gcs_server", "ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
_DAEMON_SCRIPTS = ("/ray/dashboard/", "/ray/_private/log_monitor.py", "/ray/autoscaler/_private/monitor.py")
#: Those that start Ray and look at it.
_DAEMON_MODULES = ("ray.scripts.scripts", "mlpools.notebook.ray_head")


class Process(NamedTuple):
    """One process.

    Attributes:
        session: its session; a terminal's shell leads one.
        terminal: number of its controlling terminal, 0 without one.
        seconds: CPU seconds of itself and of those of its children that have ended.
    """

    pid: int
    session: int
    terminal: int
    zombie: bool
    seconds: float
    daemon: bool


class Snapshot(NamedTuple):
    """All processes at one moment.

    Attributes:
        seconds: of CPU that the notebook has used so far; what has ended counts on.
        terminals: in which a program runs, beside the shell.
    """

    seconds: float
    terminals: int


def snapshot(proc: Path = PROC, own: int | None = None) -> Snapshot:
    """Look at all processes but the supervisor itself, as whose children those end whose parents are gone.

    Args:
        proc: where the kernel shows them.
        own: process id of the supervisor; by default this process.
    """
    own = os.getpid() if own is None else own
    all_of_them = list(_processes(proc))
    others = [it for it in all_of_them if it.pid != own]
    seconds = sum(it.seconds for it in others if not it.daemon)
    return Snapshot(seconds + _reaped(proc, own), _busy_terminals(others))


def _busy_terminals(processes: list[Process]) -> int:
    shells = {it.session for it in processes if it.terminal and it.pid == it.session}
    return len(
        {it.session for it in processes if it.session in shells and it.pid != it.session and not it.zombie}
    )


def _processes(proc: Path) -> Iterator[Process]:
    for folder in proc.iterdir():
        if folder.name.isdigit():
            fields = _stat(folder)
            if fields:
                yield _process(folder, fields)


def _process(folder: Path, fields: list[str]) -> Process:
    state, session, terminal = fields[0], *map(int, fields[3:5])
    ticks = sum(map(int, fields[11:15]))  # own and waited-for children's, user and system
    return Process(
        pid=int(folder.name),
        session=session,
        terminal=terminal,
        zombie=state in "ZX",
        seconds=ticks / _TICKS,
        daemon=_is_daemon(folder),
    )


def _stat(folder: Path) -> list[str]:
    """Return the fields of ``stat`` after the name, which may hold anything; none if it is gone."""
    try:
        return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _is_daemon(folder: Path) -> bool:
    try:
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    name = words[0].rpartition("/")[2]
    if any(word in _DAEMON_MODULES for word in words[:3]):
        return True
    return name.startswith(_DAEMONS) or any(script in word for word in words for script in _DAEMON_SCRIPTS)


def _reaped(proc: Path, own: int) -> float:
    fields = _stat(proc / str(own))
    return sum(map(int, fields[13:15])) / _TICKS if fields else 0.0
