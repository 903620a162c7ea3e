"""Arrow IPC and Feather: a unit is a record batch of a file; a stream, which has no footer, is one unit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa

from mlpools.data.formats import Inspection
from mlpools.data.formats.magic import is_no
from mlpools.data.plan import Unit

_MAGIC = b"ARROW1"
_CONTINUATION = b"\xff\xff\xff\xff"


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
        return _Batches(file, schema)


class _Batches:
    def __init__(self, file: pa.NativeFile, schema: pa.Schema) -> None:
        self._file = file
        self._names = schema.names
        self._stream = not file.read_at(len(_MAGIC), 0).startswith(_MAGIC)
        every = self._open(None).schema
        # Without any field chosen all would be read.
        chosen = [every.get_field_index(name) for name in self._names] or [0]
        self._options = pa.ipc.IpcReadOptions(included_fields=sorted(chosen))
        self._reader = None if self._stream else self._open(self._options)

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield one batch of a file, or all of a stream; only the columns wanted are read."""
        batches = self._open(self._options) if self._reader is None else [self._reader.get_batch(unit.start)]
        for batch in batches:
            yield pa.Table.from_batches([batch]).select(self._names)

    def _open(self, options: pa.ipc.IpcReadOptions | None) -> pa.ipc.RecordBatchReader:
        if self._stream:
            return pa.ipc.open_stream(self._file.get_stream(0, self._file.size()), options=options)
        return pa.ipc.open_file(self._file, options=options)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
