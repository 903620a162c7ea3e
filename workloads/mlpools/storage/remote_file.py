"""Random access to a remote object, as a file object for Arrow."""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Protocol

from mlpools.storage import ranges
from mlpools.storage.info import FileInfo
from mlpools.storage.ranges import Range

_FIRST_WINDOW = 64 << 10
#: What is announced is fetched into memory; beyond this it waits until it is read.
_AHEAD_BYTES = 64 << 20


class Source(Protocol):
    """Where a ``RemoteFile`` gets its bytes from."""

    def read(self, start: int, stop: int) -> bytes:
        """Return some bytes from ``start`` on, at least one and none beyond ``stop``."""

    def prefetch(self, wanted: Iterable[Range]) -> None:
        """Begin to fetch what will be read soon."""

    def close(self) -> None:
        """Let go of what is held."""


class Store:
    """Bytes straight from the object's store.

    Reading on and on makes the window grow, so that text files need few requests.
    """

    def __init__(self, info: FileInfo) -> None:
        self._info = info
        self._window = _FIRST_WINDOW
        self._block = (0, b"")
        self._announced: list[dict[Range, Future[bytearray]]] = []

    def prefetch(self, wanted: Iterable[Range]) -> None:
        """Begin to fetch what will be read soon; what was announced before the last time is forgotten."""
        announced: dict[Range, Future[bytearray]] = {}
        size = 0
        for start, stop in ranges.pieces(ranges.coalesce(wanted)):
            size += stop - start
            if size > _AHEAD_BYTES:
                break
            announced[start, stop] = ranges.submit(ranges.fetch, self._info, start, stop)
        self._announced = [*self._announced[-1:], announced]

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes that are under way already, else those of a request of its own."""
        for announced in reversed(self._announced):
            for (first, end), content in announced.items():
                if first <= start < end:
                    return bytes(memoryview(content.result())[start - first : stop - first])
        begin, block = self._block
        if not begin <= start < begin + len(block):
            onward = start == begin + len(block)
            self._window = min(self._window * 2, ranges.PIECE_BYTES) if onward else _FIRST_WINDOW
            end = min(max(stop, start + self._window), self._info.size)
            begin, block = self._block = (start, bytes(ranges.fetch(self._info, start, end)))
        return block[start - begin : stop - begin]

    def close(self) -> None:
        """Forget what was announced."""
        self._announced = []


class RemoteFile(io.RawIOBase):
    """A file object over a source. Not for several threads."""

    def __init__(self, info: FileInfo, source: Source) -> None:
        super().__init__()
        self._size = info.size
        self._source = source
        self._position = 0

    def prefetch(self, wanted: Iterable[Range]) -> None:
        """Begin to fetch the ranges of bytes that will be read next."""
        self._source.prefetch(wanted)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, fewer only at the end of the file.

        Raises:
            DataNotReadable: the object was replaced, or the store does not answer.
        """
        left = max(0, self._size - self._position)
        stop = self._position + (left if size is None or size < 0 else min(size, left))
        parts = []
        while self._position < stop:
            parts.append(self._source.read(self._position, stop))
            self._position += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()
