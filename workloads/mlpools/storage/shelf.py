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
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mlpools import budgets
from mlpools.contract.wiring import CACHE_ENV
from mlpools.errors import one_line
from mlpools.storage.alone import alone_with

_log = logging.getLogger(__name__)
_LOCK = ".lock"
#: In front of the name of a file that is being written.
_UNFINISHED = ".new-"


class Shelf:
    """Files by name, the least recently used of them given up for new ones.

    Nothing here fails: what cannot be kept is not kept, and the first reason for that is logged.

    Attributes:
        folder: made when the first file is put there.
        share: of what the disk can spare for a cache, how much these files may take, 0 … 1.
    """

    def __init__(self, folder: Path, share: float = 0.5) -> None:
        self.folder = folder
        self.share = share
        self._said = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Shelf, (self.folder, self.share)

    @property
    def budget(self) -> int:
        """Bytes that all files may take together."""
        return self._budget(sum(item[1] for item in self._files()))

    def find(self, name: str) -> Path | None:
        """Return the path of a file and note that it was used, or None."""
        path = self.folder / name
        try:
            self._check_owner()
            changed = path.stat().st_mtime_ns
        except OSError:
            return None
        with contextlib.suppress(OSError):  # a volume may be mounted read-only
            # The time of access alone: the time of change tells one file of a name from the next.
            os.utime(path, ns=(time.time_ns(), changed))
        return path

    def put(
        self, name: str, size: int, write: Callable[[BinaryIO], object], in_use: Collection[str] = ()
    ) -> Path | None:
        """Have a file written, and return its path; None where there is no room or the disk refuses.

        Args:
            name: of a file that ``find`` did not have. If another process was faster, its file is replaced.
            size: bytes that will be written.
            write: writes them to the open file.
            in_use: names of files that are not given up for it.
        """
        path = self.folder / name
        try:
            with self._place(name, size, in_use) as (file, unfinished):
                write(file)
                file.flush()
                unfinished.rename(path)
        except OSError as error:
            self._say(one_line(error))
            return None
        return path

    def drop(self, name: str) -> None:
        """Remove a file that turned out to be damaged."""
        with contextlib.suppress(OSError):
            (self.folder / name).unlink()

    @contextlib.contextmanager
    def _place(self, name: str, size: int, in_use: Collection[str]) -> Iterator[tuple[BinaryIO, Path]]:
        """Reserve room for a file and open it for writing; whatever happens, no unfinished file stays."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._check_owner()
        unfinished = self.folder / f"{_UNFINISHED}{name}.{os.urandom(4).hex()}"
        try:
            # Its length is its reservation: other writers count it from now on.
            with alone_with(self.folder / _LOCK):
                self._make_room(size, in_use)
                file = unfinished.open("w+b")
                fcntl.flock(file, fcntl.LOCK_EX)
                file.truncate(size)
            with file:
                yield file, unfinished
        finally:
            unfinished.unlink(missing_ok=True)

    def _make_room(self, size: int, in_use: Collection[str]) -> None:
        """Remove what killed writers left, then the least recently used, until ``size`` bytes fit."""
        files = [file for file in self._files() if not _abandoned(file[2])]
        used = sum(file[1] for file in files)
        budget = self._budget(used)
        if size > budget:
            raise OSError(f"{size:,} bytes are more than its budget of {budget:,}")
        for _, taken, path in sorted(files):
            if used + size <= budget:
                return
            if not path.name.startswith(_UNFINISHED) and path.name not in in_use:
                path.unlink(missing_ok=True)
                used -= taken
        if used + size > budget:
            raise OSError(f"what is in use or being written takes all of its budget of {budget:,} bytes")

    def _files(self) -> list[tuple[int, int, Path]]:
        """Return when each file was used, its bytes, and its path; unfinished ones count in full."""
        found = []
        for path in self.folder.iterdir() if self.folder.exists() else ():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                if path.name != _LOCK:
                    found.append((stat.st_atime_ns, stat.st_size, path))
        return found

    def _budget(self, held: int) -> int:
        return int(self.share * budgets.disk(self.folder, held))

    def _check_owner(self) -> None:
        """See that in the temporary folder of a machine no stranger's files are believed."""
        owner = self.folder.stat().st_uid
        if owner != os.getuid() and not os.environ.get(CACHE_ENV):
            raise PermissionError(f"it belongs to user {owner}")

    def _say(self, reason: str) -> None:
        if not self._said:
            self._said = True
            _log.warning("The cache in %s is not used for all data: %s.", self.folder, reason)


def _abandoned(path: Path) -> bool:
    """Remove an unfinished file whose writer is gone; say whether it was."""
    if not path.name.startswith(_UNFINISHED):
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            return True
    except OSError as error:
        return isinstance(error, FileNotFoundError)
