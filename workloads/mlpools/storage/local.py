"""Writing files so that a reader sees all of one or nothing of it, whatever dies and whenever."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: bytes, *, once: bool = False) -> None:
    """Write a file atomically and durably.

    Args:
        path: its folder must be there.
        data: all of the content.
        once: refuse to replace an existing file. Of two writers one succeeds, on NFS too.

    Raises:
        FileExistsError: with ``once``, and the file exists.
        OSError: the volume refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if once:
            os.link(temporary, path)
        else:
            temporary.replace(path)
            return
    finally:
        temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
