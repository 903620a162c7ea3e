"""Namespaces: what keeps an instance, and each node in it, apart from everything else.

The kernel removes a pid namespace's processes when its pid 1 dies, and with them the mounts,
network devices and firewall rules that only they held. So one SIGKILL takes down a node or a whole
instance, and a crash leaves nothing but files and empty cgroups.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.steps import ToolError

KINDS = ("--net", "--mount", "--pid", "--uts", "--ipc")
# tini reaps: what nsenter starts in a pid namespace is adopted by its pid 1.
PID_1 = ("tini", "--", "sleep", "infinity")


@dataclass(frozen=True)
class Entrance:
    """A command that runs another one in other namespaces, as its `forks`-th descendant."""

    command: tuple[str, ...] = ()
    forks: int = 0

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """Run a command there to its end, and return what it prints.

        Raises:
            ToolError: it failed; with its last line.
        """
        with tempfile.TemporaryFile() as source:
            source.write(stdin.encode())
            source.seek(0)
            return self.feed(source, *command)

    def feed(self, source: IO[bytes], *command: str | Path) -> str:
        """The same with a file as its standard input."""
        done = subprocess.run(
            [*self.command, *command], stdin=source, capture_output=True, text=True, check=False
        )
        if done.returncode:
            words = (
                done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
            ).splitlines()
            raise ToolError(f"{' '.join(map(str, command))[:120]} failed: {words[-1]}")
        return done.stdout


HERE = Entrance()


def entrance(pid: int) -> Entrance:
    """The way into the namespaces of a process."""
    return Entrance(("nsenter", f"--target={pid}", *KINDS, "--"), forks=1)


def new(inside: Entrance = HERE) -> Entrance:
    """The way into a new set of namespaces, of which what is run there becomes pid 1."""
    return Entrance(
        (*inside.command, "unshare", *KINDS, "--fork", "--kill-child", "--mount-proc"), inside.forks + 1
    )
