"""Random access to one remote object, as a file object for Arrow."""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import Future

from mlpools.storage import ranges
from mlpools.storage.info import FileInfo
from mlpools.storage.ranges import Range

_FIRST_WINDOW = 64 << 10

_Piece = tuple[Range, "Future[bytearray]"]


class RemoteFile(io.RawIOBase):
    """Reads what was announced from what is under way already, and anything else as it is asked for.

    Reading on and on makes the window grow, so that text files need few requests. Not for several threads.
    """

    def __init__(self, info: FileInfo) -> None:
        super().__init__()
        self.info = info
        self._position = 0
        self._window = _FIRST_WINDOW
        self._block = (0, b"")
        self._announced: list[list[_Piece]] = []

    def prefetch(self, wanted: Iterable[Range]) -> None:
        """Begin to fetch what will be read next; what was announced before the last time is forgotten."""
        parts = ranges.pieces(ranges.coalesce(wanted))
        announced = [(part, ranges.submit(self.info, *part)) for part in parts]
        self._announced = [*self._announced[-1:], announced]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.info.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, fewer only at the end of the file.

        Raises:
            DataNotReadable: the object was replaced, or the store does not answer.
        """
        left = max(0, self.info.size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted:
            part = self._announced_at(self._position, wanted) or self._block_at(self._position, wanted)
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _announced_at(self, position: int, size: int) -> bytes:
        for announced in reversed(self._announced):
            for (start, stop), content in announced:
                if start <= position < stop:
                    return bytes(memoryview(content.result())[position - start : position - start + size])
        return b""

    def _block_at(self, position: int, size: int) -> bytes:
        start, block = self._block
        if not start <= position < start + len(block):
            onward = position == start + len(block)
            self._window = min(self._window * 2, ranges.PIECE_BYTES) if onward else _FIRST_WINDOW
            stop = min(position + max(size, self._window), self.info.size)
            start, block = self._block = (position, bytes(ranges.fetch(self.info, position, stop)))
        return block[position - start : position - start + size]
