"""One rank's rows of one data set: read once where they fit into memory, and counted."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlpools.data.connector import DataConnector
from mlpools.data.groups import uncut
from mlpools.data.sizes import row_bytes

_IO = Path("/proc/self/io")


class ShardRows:
    """Gives the same tables as often as wanted, and knows what reading them cost.

    With a group column no group is parted between two tables.

    Attributes:
        alive: called for every table read; a reader of the tables may call it too.
        bytes_read: what the kernel counted for this process while it went over the rows; a thread reads
            ahead of whoever uses them.
        keep: whether rows stay in memory; the caller knows what fits.
        seconds: spent in waiting for rows.
    """

    def __init__(
        self,
        shard: DataConnector,
        columns: Sequence[str],
        *,
        group: str = "",
        files: Sequence[str] = (),
        keep: bool,
        alive: Callable[[], None],
    ) -> None:
        self._shard = shard
        self._columns = list(columns)
        self._group = group
        self._files = files
        self.keep = keep
        self.alive = alive
        self._kept: list[pa.Table] | None = None
        self.bytes_read = 0
        self.seconds = 0.0

    @property
    def num_rows(self) -> int:
        """Rows of the shard."""
        return self._shard.num_rows

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows in order; from memory after the first time if they are kept."""
        if self.keep and self._kept is None:
            self._kept = list(self._whole())
        if self._kept is not None:
            yield from self._kept
        elif columns is None:
            yield from self._whole()
        else:
            yield from self._read(columns)

    def drained(self) -> Iterator[pa.Table]:
        """Yield the rows in order for the last time, and forget kept ones as they go."""
        kept, self._kept = self._kept, None
        if kept is None:
            yield from self._whole()
        while kept:
            yield kept.pop(0)

    def origin(self, name: str, start: int, stop: int) -> str:
        """Return where some of the rows come from, for messages: ``The data 'train', file 1.parquet``.

        Args:
            name: of the data set.
            start: the first of the rows, counted from 0 within the shard.
            stop: the row after the last one.
        """
        names = dict.fromkeys(file for file, _, _ in self.by_file(start, stop))
        return ", file ".join([f"The data {name!r}", *names])

    def by_file(self, start: int, stop: int) -> list[tuple[str, int, int]]:
        """Return which of some of the rows come from which file, as far as that is known.

        Returns:
            Name of the file, the first row and the one after the last, in the order of rows.
        """
        found: list[tuple[str, int, int]] = []
        begin = 0
        for part in self._shard.ranges if self._files else ():
            first, last = max(start, begin), min(stop, begin + part.rows)
            if first < last:
                found.append((self._files[part.group], first, last))
            begin += part.rows
        return found

    def release(self) -> None:
        """Forget kept rows; whoever needed them has them in another form."""
        self._kept = None

    def _whole(self) -> Iterator[pa.Table]:
        tables = self._read(self._columns)
        return uncut(tables, self._group) if self._group else tables

    def _read(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        tables = self._shard.to_tables(columns)
        before = bytes_read_so_far() - self.bytes_read
        while True:
            began = time.monotonic()
            table = next(tables, None)
            self.seconds += time.monotonic() - began
            self.bytes_read = bytes_read_so_far() - before
            if table is None:
                return
            self.alive()
            yield table

    def facts(self) -> dict[str, Any]:
        """Return who read what, for the job's result."""
        ranges = [[part.group, part.start, part.stop] for part in self._shard.ranges]
        return {
            "rows": self.num_rows,
            "rowGroups": ranges,
            "bytesRead": self.bytes_read,
            "seconds": round(self.seconds, 3),
        }


def give_back() -> None:
    """Give memory that is free back to the system: the C library keeps it for what may come."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU library only
    if trim is not None:
        trim(0)


def size_in_memory(connector: DataConnector, columns: Sequence[str]) -> int:
    """Return about how many bytes the columns take once decoded."""
    return int(connector.num_rows * row_bytes(connector.schema, columns))


def bytes_read_so_far() -> int:
    """Return what this process has read through the kernel: ``rchar`` of its accounting."""
    for line in _IO.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "rchar":
            return int(value)
    return 0
