"""One at a time: a folder as a lock between processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, made where there is none; wait while another process holds it.

    The folder itself is the lock, so that no lock file outlives it: whoever held it may remove it.
    """
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileExistsError, FileNotFoundError):
            if folder.exists() and not folder.is_dir():
                raise
            continue  # it was removed between two looks
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _still_there(folder, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _still_there(folder: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    return False
