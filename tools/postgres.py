"""PostgreSQL's programs for tests: the machine's own, else Debian's packages unpacked into the cache.

Unpacked, not installed: that would make and start a database cluster of the system.

    python -m tools.postgres     # prints the folder of the programs
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.locks import locked
from tools.steps import ToolError, cache_dir, step, told

_DEBIAN = Path("usr/lib/postgresql")


@dataclass(frozen=True)
class Programs:
    """Where they are.

    Attributes:
        folder: with ``initdb`` and ``postgres``.
        libraries: for ``LD_LIBRARY_PATH``; empty for the machine's own.
    """

    folder: Path
    libraries: str = ""


@functools.cache
def programs() -> Programs:
    """The newest PostgreSQL at hand, fetched where there is none.

    Raises:
        ToolError: Debian's packages could not be had.
    """
    if installed := _newest(Path("/")):
        return Programs(installed)
    return unpacked(cache_dir() / "postgresql")


def unpacked(root: Path) -> Programs:
    """The programs below a folder, and the packages they need that this machine lacks.

    Raises:
        ToolError: Debian's packages could not be had.
    """
    with locked(root):
        if _newest(root) is None:
            with step("fetching PostgreSQL"), tempfile.TemporaryDirectory(dir=root) as aside:
                _run(["apt-get", "download", *_wanted()], aside)
                for package in sorted(Path(aside).glob("*.deb")):
                    _run(["dpkg-deb", "--extract", str(package), "tree"], aside)
                Path(aside, "tree", "usr").replace(root / "usr")
    folder = _newest(root)
    if folder is None:
        raise ToolError(f"Debian's packages brought no PostgreSQL to {root}; install postgresql.")
    return Programs(folder, ":".join(str(path) for path in sorted((root / "usr" / "lib").glob("*-linux-*"))))


def _newest(root: Path) -> Path | None:
    folders = [path.parent for path in (root / _DEBIAN).glob("*/bin/postgres")]
    return max(folders, key=lambda path: int(path.parent.name), default=None)


def _wanted() -> list[str]:
    """The packages that an installation would bring: of the server, and of libraries that are absent."""
    plan = _run(["apt-get", "install", "--simulate", "--no-install-recommends", "postgresql"], "/")
    return re.findall(r"^Inst (\S+)", plan, re.M)


def _run(command: list[str], folder: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        raise ToolError(f"{' '.join(command[:2])} failed: {last} (has apt-get update been run?)")
    return done.stdout


def main() -> int:
    """Print where the programs are."""
    with told():
        print(programs().folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
