"""How many rows a call of the model gets: found out by measuring, and less after memory ran out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

#: The first call gets so many bytes of rows, and no more rows than this.
_FIRST_BYTES, _FIRST_ROWS = 8 << 20, 1 << 16
#: More rows in a call help nobody.
_MOST_ROWS = 1 << 18
#: Twice the rows have to give so much more speed to be worth their memory.
_WORTH = 1.03
#: The fastest of so many calls counts: other programs make a call slower, but never faster.
_CALLS = 3
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class BatchSize:
    """The number of rows for the next call.

    It doubles while calls get faster and what they take, as measured, leaves the memory's budget alone.

    Attributes:
        rows: for the next call.
    """

    def __init__(self, *, fixed: int | None, row_bytes: float, budget: int, bound: int = 0) -> None:
        """Begin.

        Args:
            fixed: rows that the user asked for; None to find out.
            row_bytes: about what a row takes.
            budget: bytes that a call may take.
            bound: rows at most, since a process before this one ran out of memory; 0 if none did.
        """
        self._most = min(bound or sys.maxsize, fixed or _MOST_ROWS)
        self._budget = budget
        self._short = bool(bound)
        first = max(1, min(_FIRST_ROWS, int(_FIRST_BYTES / max(1.0, row_bytes))))
        self.rows = min(self._most, fixed or first)
        self._settled = fixed is not None
        self._before = self._speed = 0.0
        self._calls = 0

    @property
    def said(self) -> str:
        """What a person should know, as a sentence; empty if nothing."""
        if not self._short:
            return ""
        return f"Memory ran out: a call of the model gets at most {self._most:,} rows now."

    def tell(self, rows: int, seconds: float, grown: int) -> None:
        """Learn from a call.

        Args:
            rows: that it had.
            seconds: that it took.
            grown: bytes by which memory was higher during the call than before it.
        """
        if self._settled or rows < self.rows:
            return
        self._calls += 1
        self._speed = max(self._speed, rows / max(seconds, 1e-9))
        if 2 * self.rows > self._most or 2 * grown > self._budget:
            self._settled = True
        elif self._calls == _CALLS and self._speed < self._before * _WORTH:
            self.rows = max(1, self.rows // 2)  # the one before was as fast, with half the memory
            self._settled = True
        elif self._calls == _CALLS:
            self.rows *= 2
            self._before, self._speed, self._calls = self._speed, 0.0, 0

    def shrink(self, rows: int) -> None:
        """Learn that memory ran out with so many rows."""
        self.rows = self._most = max(1, min(self.rows, rows // 2))
        self._settled = self._short = True


class Rebatcher:
    """Cuts tables of any size into batches, in order; what is left over waits for the next table."""

    def __init__(self) -> None:
        self._held: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table, size: BatchSize) -> Iterator[pa.Table]:
        """Yield full batches; the size may change between two of them."""
        self._held.append(table)
        self._rows += table.num_rows
        while self._rows and self._rows >= size.rows:
            yield self._take(size.rows)

    def rest(self, size: BatchSize) -> Iterator[pa.Table]:
        """Yield what is left."""
        while self._rows:
            yield self._take(min(size.rows, self._rows))

    def drop(self) -> None:
        """Forget what is left."""
        self._held, self._rows = [], 0

    def _take(self, rows: int) -> pa.Table:
        taken, missing = [], rows
        while missing:
            table = self._held.pop(0)
            if table.num_rows > missing:
                self._held.insert(0, table.slice(missing))
                table = table.slice(0, missing)
            taken.append(table)
            missing -= table.num_rows
        self._rows -= rows
        return taken[0] if len(taken) == 1 else pa.concat_tables(taken)


def reset_peak() -> int:
    """Begin to measure this process's peak of memory anew, and return the bytes in use now."""
    with contextlib.suppress(OSError):
        _RESET.write_text("5")
    return _kilobytes("VmRSS:") << 10


def peak() -> int:
    """Return the most bytes that this process has used since ``reset_peak``."""
    return _kilobytes("VmHWM:") << 10


def _kilobytes(field: str) -> int:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a framework says by an error that memory ran out, of the machine or of a GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("bad_alloc", "out of memory", "cannot allocate memory", "outofmemory")
    )
