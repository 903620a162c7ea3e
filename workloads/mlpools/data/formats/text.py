"""Lines of text: a unit is a range of bytes, and a line belongs to the unit in which it begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data.formats import Inspection
from mlpools.data.plan import Unit

_UNIT_BYTES = 32 << 20
_STEP_BYTES = 1 << 16
_NEWLINE = b"\n"


@dataclasses.dataclass(frozen=True)
class Text:
    """Text in UTF-8, one row a line, in column ``text``, without its end of line. Empty lines are rows."""

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".text")
    unit: ClassVar[str] = "text from byte"
    guesses_types: ClassVar[bool] = False
    sparse: ClassVar[bool] = False

    def inspect(self, file: pa.NativeFile, name: str) -> Inspection:
        """Cut the file into ranges; nothing is read."""
        size = file.size()
        units = tuple(
            Unit(start, min(start + _UNIT_BYTES, size)) for start in range(0, size, _UNIT_BYTES)
        ) or (Unit(0, 0, 0),)
        return Inspection(pa.schema([("text", pa.large_string())]), units)

    def open(self, file: pa.NativeFile, name: str, schema: pa.Schema, piece_bytes: int) -> _Lines:
        """Open a file for its lines."""
        return _Lines(file, schema, piece_bytes)


class _Lines:
    def __init__(self, file: pa.NativeFile, schema: pa.Schema, piece_bytes: int) -> None:
        self._file = file
        self._wanted = schema.names
        self._piece_bytes = piece_bytes

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield the lines that begin in the unit."""
        start = unit.start
        if start:  # the line that began before belongs to the unit before
            start = self._line_end(start - 1)
        while start < unit.stop:
            stop = self._line_end(min(start + self._piece_bytes, unit.stop) - 1)
            self._file.seek(start)
            data = self._file.read(stop - start)
            yield _lines(data).select(self._wanted)
            start = stop

    def _line_end(self, position: int) -> int:
        """Return where the line with the byte at ``position`` ends, behind its newline."""
        self._file.seek(position)
        while data := self._file.read(_STEP_BYTES):
            found = int(data.find(_NEWLINE))
            if found >= 0:
                return position + found + 1
            position += len(data)
        return position

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _lines(data: bytes) -> pa.Table:
    """Return lines as a column over the bytes as they are; only the ends of line are cut off."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE[0]) + 1
    if not data.endswith(_NEWLINE):
        ends = np.append(ends, len(data))
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    lines = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError("is no UTF-8 text; convert it, or read it with from_binary_files") from error
    return pa.Table.from_arrays([pc.utf8_rtrim(lines, "\r\n")], names=["text"])
