"""Remote files on the local disk, shared by the processes and pods of a machine.

What is fetched once is not fetched again, by whichever process, as long as the object stays the same version
and the disk has room. Nothing here fails: what cannot be kept is read from its store.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlpools import budgets
from mlpools.contract.wiring import CACHE_ENV
from mlpools.data.cache import entry
from mlpools.data.cache.entry import DamagedError, Entry
from mlpools.errors import InvalidSpec, at_hand, one_line
from mlpools.storage import FileInfo
from mlpools.storage.alone import alone_with

_log = logging.getLogger(__name__)
_LOCK = ".lock"
_NEW, _GONE = ".new-", ".gone-"
#: After so much was written it is time to look at what all processes have written.
_LOOK_SHARE = 64
#: A folder of this age that never got its name has lost its maker.
_ABANDONED_SECONDS = 600
_OPTIONS = ("max_disk_pct", "evict_interval_sec", "cache_dir", "disk_subdir")


class FileCache:
    """Entries in a folder, one for each version of an object; those not used for longest go first.

    Attributes:
        folder: of the entries.
        share: of what the disk can spare for a cache, how much this one takes, 0 … 1.
        interval: seconds after which a process looks at the folder at the latest.
    """

    def __init__(self, folder: Path, share: float = 0.5, interval: float = 30.0) -> None:
        self.folder = folder
        self.share = share
        self.interval = interval
        self._checked: dict[bytes, bytearray] = {}
        self._open: set[Entry] = set()
        self._guard = (os.getpid(), threading.Lock())
        self._looked = -math.inf
        self._left = 0
        self._promised = 0
        self._full = False
        self._said = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None = None) -> FileCache:
        """Return the cache that a user's ``file_cache_config`` describes.

        Args:
            config: ``max_disk_pct`` (50): of what the disk can spare; ``evict_interval_sec`` (30);
                ``cache_dir`` (the pod's cache, else a temporary folder); ``disk_subdir`` (``files``).

        Raises:
            InvalidSpec: an unknown key, or a value that makes no sense.
        """
        given = dict(config or {})
        for key in given:
            if key not in _OPTIONS:
                raise InvalidSpec(f"file_cache_config has no {key!r}. {at_hand(key, _OPTIONS, 'Keys')}")
        percent, interval = given.get("max_disk_pct", 50), given.get("evict_interval_sec", 30)
        if not 0 < percent <= 100 or interval <= 0:
            raise InvalidSpec(
                "file_cache_config needs max_disk_pct in 1…100 and evict_interval_sec above 0, "
                f"but they are {percent} and {interval}."
            )
        folder = Path(given.get("cache_dir") or budgets.cache_folder()) / given.get("disk_subdir", "files")
        return cls(folder, percent / 100, float(interval))

    def __reduce__(self) -> tuple[Any, ...]:
        return FileCache, (self.folder, self.share, self.interval)

    def open(self, info: FileInfo) -> Entry | None:
        """Return the entry of an object, made if need be; None where none can be. ``close`` it."""
        path = self.folder / _name(info)
        try:
            self._own_folder()
            for attempt in range(3):
                try:
                    opened = Entry(path, info, self._checked_of)
                except FileNotFoundError:  # not yet, no longer, or only one of its files
                    if attempt:
                        self._give_up(path)
                    self._create(path, info.size)
                except DamagedError:
                    self._give_up(path)
                else:
                    opened.touch()
                    self._open.add(opened)
                    return opened
        except OSError as error:
            self.say(one_line(error))
        return None

    def close(self, opened: Entry) -> None:
        """Let go of an entry."""
        self._open.discard(opened)
        opened.close()

    @contextlib.contextmanager
    def room(self, size: int) -> Iterator[bool]:
        """Say whether so many bytes more may be written; the entries unused for longest go for them."""
        granted = self._grant(size)
        try:
            yield granted
        finally:
            with self._own_guard():
                self._promised -= size * granted

    def _grant(self, size: int) -> bool:
        with self._own_guard():
            late = time.monotonic() - self._looked > self.interval
            if late or (self._left < size and not self._full):
                try:
                    self._look(size)
                except OSError as error:
                    self.say(one_line(error))
                    return False
                self._full = self._left < size
            if self._left < size:
                self.say("what is being read takes all of the room that the cache may have")
                return False
            self._left -= size
            self._promised += size
            return True

    def _own_guard(self) -> threading.Lock:
        """Return this process's lock: a forked child must not wait for a thread of its parent.

        Nor for one that has an entry in hand; the parent keeps its entries itself.
        """
        if self._guard[0] != os.getpid():
            self._guard, self._open = (os.getpid(), threading.Lock()), set()
        return self._guard[1]

    def say(self, reason: str) -> None:
        """Log why not everything is kept, once."""
        if not self._said:
            self._said = True
            _log.warning("The cache in %s is not used for all data: %s.", self.folder, reason)

    def _look(self, size: int) -> None:
        """See what all entries take, and give up the oldest until there is room for more than ``size``."""
        for opened in list(self._open):
            opened.touch()
        with alone_with(self.folder / _LOCK):
            self._clear_away()
            entries = sorted(self._entries())
            used = sum(taken for _, taken, _ in entries)
            budget = int(self.share * budgets.disk(self.folder, used))
            wanted = max(size, budget // _LOOK_SHARE)
            in_use = {opened.name for opened in self._open}
            for _, taken, path in entries:
                if used + self._promised + wanted <= budget:
                    break
                if _entry_name(path) not in in_use:
                    self._give_up(path)
                    used -= taken
        self._left = min(wanted, budget - used - self._promised)
        self._looked = time.monotonic()

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each was used, its bytes on disk, and its path; a time in the future tells nothing."""
        now = time.time()
        for path in self.folder.iterdir():
            if not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    used = (path / "blocks").stat().st_mtime
                    yield used if used <= now + 1 else 0, (path / "data").stat().st_blocks * 512, path

    def _clear_away(self) -> None:
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                made_long_ago = abs(time.time() - path.stat().st_mtime) > _ABANDONED_SECONDS
                if path.name.startswith(_GONE) or (path.name.startswith(_NEW) and made_long_ago):
                    shutil.rmtree(path, ignore_errors=True)

    def _give_up(self, path: Path) -> None:
        """Take an entry's name away, at once; who has it open keeps it."""
        gone = self.folder / f"{_GONE}{os.urandom(8).hex()}"
        with contextlib.suppress(FileNotFoundError):
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _create(self, path: Path, size: int) -> None:
        made = self.folder / f"{_NEW}{os.urandom(8).hex()}"
        made.mkdir()
        try:
            entry.create(made, size)
            made.rename(path)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            if not path.exists():
                raise  # else another process was faster

    def _own_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = self.folder.stat().st_uid
        if owner != os.getuid() and not os.environ.get(CACHE_ENV):
            raise PermissionError(f"it belongs to user {owner}")

    def _checked_of(self, name: bytes, blocks: int) -> bytearray:
        return self._checked.setdefault(name, bytearray(blocks))


def _name(info: FileInfo) -> str:
    return hashlib.sha256(f"{info.url}\0{info.version}\0{info.size}".encode()).hexdigest()


def _entry_name(path: Path) -> bytes:
    try:
        with (path / "blocks").open("rb") as file:
            return file.read(16)[8:]
    except OSError:
        return b""
