"""A folder of files that are written once, within a budget of bytes, shared by processes and pods.

Files appear whole by a rename. The least recently used go when room is needed; who has one open or mapped
keeps it, since only its name goes. A writer holds a lock on the file that it writes, so that another can tell
the remains of a killed one and clear them away.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mlpools.errors import one_line

_log = logging.getLogger(__name__)
_LOCK = ".lock"
#: In front of the name of a file that is being written.
_UNFINISHED = ".new-"


class Shelf:
    """Files by name, the least recently used of them given up for new ones.

    Nothing here fails: what cannot be kept is not kept, and the first reason for that is logged.

    Attributes:
        folder: made when the first file is put there.
        budget: bytes that all files may take together.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self.budget = budget
        self._said = False

    def find(self, name: str) -> Path | None:
        """Return the path of a file and note that it was used, or None."""
        path = self.folder / name
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return None
        with contextlib.suppress(OSError):  # a volume may be mounted read-only
            # The time of access alone: the time of change tells one file of a name from the next.
            os.utime(path, ns=(time.time_ns(), changed))
        return path

    def put(self, name: str, size: int, write: Callable[[BinaryIO], object]) -> Path | None:
        """Have a file written, and return its path; None where there is no room or the disk refuses.

        Args:
            name: of a file that ``find`` did not have. If another process was faster, its file is replaced.
            size: bytes that will be written.
            write: writes them to the open file.
        """
        if size > self.budget:
            self._say(f"{size:,} bytes are more than the cache's budget of {self.budget:,}")
            return None
        path = self.folder / name
        try:
            with self._place(name, size) as (file, unfinished):
                write(file)
                file.flush()
                unfinished.rename(path)
        except OSError as error:
            self._say(one_line(error))
            return None
        return path

    def drop(self, name: str) -> None:
        """Remove a file that turned out to be damaged."""
        (self.folder / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _place(self, name: str, size: int) -> Iterator[tuple[BinaryIO, Path]]:
        """Reserve room for a file and open it for writing; whatever happens, no unfinished file stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f"{_UNFINISHED}{name}.{os.urandom(4).hex()}"
        try:
            # Its length is its reservation: other writers count it from now on.
            with self._alone():
                self._make_room(size)
                file = unfinished.open("w+b")
                fcntl.flock(file, fcntl.LOCK_EX)
                file.truncate(size)
            with file:
                yield file, unfinished
        finally:
            unfinished.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self, size: int) -> None:
        """Remove what killed writers left, then the least recently used, until ``size`` bytes fit."""
        kept: list[tuple[int, int, str]] = []
        for entry in os.scandir(self.folder):
            if entry.name == _LOCK or (entry.name.startswith(_UNFINISHED) and _abandoned(entry.path)):
                continue
            with contextlib.suppress(FileNotFoundError):
                stat = entry.stat()
                kept.append((stat.st_atime_ns, stat.st_size, entry.path))
        used = sum(item[1] for item in kept)
        for _, freed, path in sorted(kept):
            if used + size <= self.budget:
                return
            if not Path(path).name.startswith(_UNFINISHED):
                Path(path).unlink(missing_ok=True)
                used -= freed
        if used + size > self.budget:
            raise OSError("other processes are writing as much as the cache's budget allows")

    def _say(self, reason: str) -> None:
        if not self._said:
            self._said = True
            _log.warning("The cache in %s is not used for all data: %s.", self.folder, reason)


def _abandoned(path: str) -> bool:
    """Remove an unfinished file whose writer is gone; say whether it was."""
    try:
        with Path(path).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(path).unlink(missing_ok=True)
            return True
    except FileNotFoundError:
        return True
    except OSError:
        return False
