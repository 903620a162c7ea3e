"""One remote object on the local disk: a sparse file, of which those blocks are there that somebody needed.

====================  ==================================================================================
``data``              as long as the object; a block that was never fetched is a hole
``blocks``            a header with a random name, then for each block a mark and the CRC-32 of its bytes
====================  ==================================================================================

A block counts only if its mark is there and its bytes have the sum. The mark is written after the bytes, so
whoever dies in between leaves a block that is fetched again. Processes may write one block at once: they
write the same bytes, since the object's version is part of the entry's name. The lock only saves them the
second fetch. Both files are opened through their folder, which keeps them together whatever becomes of its
name; a reader of an entry that was given up reads on.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mlpools.storage import FileInfo, ranges

BLOCK_BYTES = 256 << 10
_PIECE_BLOCKS = ranges.PIECE_BYTES // BLOCK_BYTES
_HEADER = struct.Struct("<8s8s")
_MAGIC = b"mlpblk01"
_MARK = struct.Struct("<4sI")
_THERE = b"here"
#: ``struct flock`` of 64-bit Linux: type, whence, start, length, process.
_FLOCK = struct.Struct("hhqqi4x")
_LOCK_WAIT = 60.0
_LOCK_POLL = 0.005


def create(folder: Path, size: int) -> None:
    """Write the two files of an entry without any block into an empty folder."""
    with (folder / "data").open("wb") as data:
        data.truncate(size)
    (folder / "blocks").write_bytes(_HEADER.pack(_MAGIC, os.urandom(8)))


class DamagedError(Exception):
    """The entry's files are not what was written."""


class Entry:
    """An open entry, for one thread or several.

    Attributes:
        info: the object as it was listed.
        name: random; another one each time when an entry is made anew.
    """

    def __init__(self, folder: Path, info: FileInfo, checked: Callable[[bytes, int], bytearray]) -> None:
        """Open both files.

        Args:
            folder: of the entry.
            info: of the object.
            checked: gives for an entry's name and number of blocks a map of those that this process has
                checked.

        Raises:
            FileNotFoundError: the entry is not there (any more).
            DamagedError: its files are not what was written.
        """
        self.info = info
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self._folder)
            self._data = os.open("data", os.O_RDWR, dir_fd=self._folder)
            undo.callback(os.close, self._data)
            self._blocks = os.open("blocks", os.O_RDWR, dir_fd=self._folder)
            undo.callback(os.close, self._blocks)
            header = os.pread(self._blocks, _HEADER.size, 0)
            if len(header) != _HEADER.size:
                raise DamagedError
            magic, self.name = _HEADER.unpack(header)
            if magic != _MAGIC:
                raise DamagedError
            undo.pop_all()
        self._checked = checked(self.name, -(-info.size // BLOCK_BYTES))
        self._users = 1
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Keep the files open inside; gives False if they are closed already.

        Without it a thread that fetches ahead could write to another file that got the number since.
        """
        with self._guard:
            held = self._users > 0
            self._users += held
        try:
            yield held
        finally:
            if held:
                self.close()

    def close(self) -> None:
        """Let go of the files; the last one who holds them closes them."""
        with self._guard:
            self._users -= 1
            if self._users == 0:
                for descriptor in (self._data, self._blocks, self._folder):
                    os.close(descriptor)

    def touch(self) -> None:
        """Note that the entry is in use."""
        with self.held() as held:
            if held:
                os.utime(self._blocks)

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes of blocks that are there; fewer if somebody cut the file short."""
        return os.pread(self._data, stop - start, start)

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the runs of blocks that have to be fetched for a range of bytes, in handy pieces."""
        numbers = [
            number
            for number in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES))
            if not self._is_there(number)
        ]
        runs = ranges.coalesce(((number, number + 1) for number in numbers), gap=0)
        return list(ranges.pieces(runs, _PIECE_BLOCKS))

    def fetch(self, first: int, end: int) -> None:
        """Fetch a run of blocks and write those that nobody else has written meanwhile.

        Raises:
            DataNotReadable: the object cannot be read.
            OSError: the disk refuses.
        """
        with self._lock(first, end):
            for start, stop in self.missing(first * BLOCK_BYTES, min(end * BLOCK_BYTES, self.info.size)):
                self._write(start, ranges.fetch(self.info, *self._bytes(start, stop)))

    def _bytes(self, first: int, end: int) -> tuple[int, int]:
        return first * BLOCK_BYTES, min(end * BLOCK_BYTES, self.info.size)

    def _write(self, first: int, content: bytearray) -> None:
        view = memoryview(content)
        blocks = [view[at : at + BLOCK_BYTES] for at in range(0, len(view), BLOCK_BYTES)]
        _write_all(self._data, view, first * BLOCK_BYTES)
        marks = b"".join(_MARK.pack(_THERE, zlib.crc32(block)) for block in blocks)
        _write_all(self._blocks, memoryview(marks), _HEADER.size + first * _MARK.size)
        for number in range(first, first + len(blocks)):
            self._checked[number] = 1

    def _is_there(self, number: int) -> bool:
        if self._checked[number]:
            return True
        mark = os.pread(self._blocks, _MARK.size, _HEADER.size + number * _MARK.size)
        if len(mark) != _MARK.size or mark[:4] != _THERE:
            return False
        start, stop = self._bytes(number, number + 1)
        if _MARK.pack(_THERE, zlib.crc32(os.pread(self._data, stop - start, start))) != mark:
            return False
        self._checked[number] = 1
        return True

    @contextlib.contextmanager
    def _lock(self, first: int, end: int) -> Iterator[None]:
        """Keep other processes and threads from fetching the same blocks, or give up waiting for them."""
        descriptor = os.open("blocks", os.O_RDWR, dir_fd=self._folder)
        try:
            blocks = (os.SEEK_SET, first, end - first, 0)
            wanted = _FLOCK.pack(fcntl.F_WRLCK, *blocks)
            deadline = time.monotonic() + _LOCK_WAIT
            for _ in itertools.count():
                try:
                    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(_LOCK_POLL)
            yield
            # Not by closing alone: a child that another thread has forked meanwhile has it open too.
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, *blocks))
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, content: memoryview, position: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, position)
        content, position = content[written:], position + written
