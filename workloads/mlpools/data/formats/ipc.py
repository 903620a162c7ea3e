"""Arrow IPC and Feather: a unit is a record batch of a file; a stream, which has no footer, is one unit."""

from __future__ import annotations

import dataclasses
import mmap
from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa

from mlpools.data.formats import Inspection
from mlpools.data.formats.magic import is_no
from mlpools.data.plan import Unit

_MAGIC = b"ARROW1"
_CONTINUATION = b"\xff\xff\xff\xff"
#: Linux's MAP_NORESERVE, which Python 3.11's mmap does not name: no memory is set aside for changed pages.
_NO_RESERVE = 0x4000


@dataclasses.dataclass(frozen=True)
class Arrow:
    """Arrow files have no options."""

    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".feather", ".ipc", ".arrows")
    unit: ClassVar[str] = "record batch"
    guesses_types: ClassVar[bool] = False
    sparse: ClassVar[bool] = False

    def inspect(self, file: pa.NativeFile, name: str) -> Inspection:
        """Read the schema, and where the batches of a file are."""
        head = file.read_at(min(8, file.size()), 0)
        if head.startswith(_MAGIC):
            reader = pa.ipc.open_file(file)
            return Inspection(reader.schema, tuple(Unit(i, i + 1) for i in range(reader.num_record_batches)))
        if head.startswith(_CONTINUATION):
            return Inspection(pa.ipc.open_stream(file.get_stream(0, file.size())).schema, (Unit(0, 1),))
        raise ValueError(is_no("Arrow", head))

    def open(self, file: pa.NativeFile, name: str, schema: pa.Schema, piece_bytes: int) -> _Batches:
        """Open a file for its record batches."""
        return _Batches(file, schema, piece_bytes)


class _Batches:
    def __init__(self, file: pa.NativeFile, schema: pa.Schema, piece_bytes: int) -> None:
        self._file = self._source = file
        self._names = schema.names
        self._piece_bytes = piece_bytes
        self._stream = not file.read_at(len(_MAGIC), 0).startswith(_MAGIC)
        opened = self._open(None)
        self._options: pa.ipc.IpcReadOptions | None = None
        if isinstance(file, pa.OSFile) and file.size() > piece_bytes * self._batches(opened):
            self._source = _mapped(file)  # of which chosen fields would be copied
        else:
            # Without any field chosen all would be read.
            chosen = [opened.schema.get_field_index(name) for name in self._names] or [0]
            self._options = pa.ipc.IpcReadOptions(included_fields=sorted(chosen))
        self._reader = None if self._stream else self._open(self._options)

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield one batch of a file, or all of a stream, in pieces; only the columns wanted are read."""
        batches = self._open(self._options) if self._reader is None else [self._reader.get_batch(unit.start)]
        for batch in batches:
            table = pa.Table.from_batches([batch]).select(self._names)
            pieces = max(1, -(-table.nbytes // self._piece_bytes))
            rows = max(1, -(-table.num_rows // pieces))
            yield from (table.slice(start, rows) for start in range(0, table.num_rows, rows))

    def _batches(self, opened: pa.ipc.RecordBatchReader) -> int:
        """Return how many there are in a file at least; how many a stream has, nobody knows."""
        return 1 if self._stream else max(1, opened.num_record_batches)

    def _open(self, options: pa.ipc.IpcReadOptions | None) -> pa.ipc.RecordBatchReader:
        if self._stream:
            return pa.ipc.open_stream(self._source.get_stream(0, self._source.size()), options=options)
        return pa.ipc.open_file(self._source, options=options)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _mapped(file: pa.OSFile) -> pa.NativeFile:
    """Return a local file whose batches are views of it, private to who changes them.

    A batch cannot be read in part, and some writers make one of all rows. Mapped it takes only the pages that
    are looked at, which the kernel takes back. The price: who shortens the file meanwhile ends the reader.
    """
    mapping = mmap.mmap(
        file.fileno(), 0, flags=mmap.MAP_PRIVATE | _NO_RESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE
    )
    return pa.BufferReader(pa.py_buffer(mapping))
