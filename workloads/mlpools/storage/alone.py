"""A file that one process at a time has."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def alone_with(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file, as soon as nobody else has it in this way, and keep others waiting inside.

    It is unlocked, not only closed: a child that another thread forks inside has it open too, and would keep
    the lock for as long as it lives.
    """
    with path.open(mode) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield file
            file.flush()
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
