"""Parquet: a unit is a row group."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.data.formats import Bounds, Inspection
from mlpools.data.formats.magic import is_no
from mlpools.data.plan import Unit
from mlpools.data.sizes import row_bytes
from mlpools.storage import native
from mlpools.storage.ranges import Range

#: One read of a file's end gets most footers whole.
_TAIL_BYTES = 1 << 16
_MAGIC = b"PAR1"
_BUFFER_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Parquet:
    """Options of Parquet files.

    Attributes:
        page_checksums: verify the checksum of every page that has one.
    """

    page_checksums: bool = False

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")
    unit: ClassVar[str] = "row group"
    guesses_types: ClassVar[bool] = False
    sparse: ClassVar[bool] = False

    def inspect(self, file: pa.NativeFile, name: str) -> Inspection:
        """Read the footer, which lists every column chunk with place, size and statistics."""
        footer = _read_footer(file)
        meta = pq.read_metadata(pa.BufferReader(_MAGIC + footer))
        places = {meta.schema.column(i).path: i for i in range(len(meta.schema))}

        def bounds(unit: int, column: str) -> Bounds | None:
            return _bounds(meta.row_group(unit), places[column]) if column in places else None

        return Inspection(
            schema=meta.schema.to_arrow_schema(),
            units=tuple(Unit(i, i + 1, meta.row_group(i).num_rows) for i in range(meta.num_row_groups)),
            digest=hashlib.sha256(footer).hexdigest(),
            bounds=bounds,
        )

    def open(self, file: pa.NativeFile, name: str, schema: pa.Schema, piece_bytes: int) -> _RowGroups:
        """Open a file for its row groups."""
        reader = pq.ParquetFile(
            file,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=self.page_checksums,
        )
        return _RowGroups(file, reader, schema, piece_bytes)


class _RowGroups:
    def __init__(
        self, file: pa.NativeFile, reader: pq.ParquetFile, schema: pa.Schema, piece_bytes: int
    ) -> None:
        self._file = file
        self._reader = reader
        self._announced: set[int] = set()
        self._schema = schema
        self._columns = schema.names
        self._piece_bytes = piece_bytes

    def announce(self, units: Sequence[Unit]) -> None:
        """Begin to fetch the column chunks of these row groups, if the file is a remote one."""
        if isinstance(self._file, native.NativeFile):
            new = [unit.start for unit in units if unit.start not in self._announced]
            self._announced.update(new)
            self._file.prefetch(part for group in new for part in self._chunks(group))

    def _chunks(self, group: int) -> Iterator[Range]:
        meta = self._reader.metadata.row_group(group)
        for chunk in (meta.column(i) for i in range(meta.num_columns)):
            if chunk.path_in_schema.split(".")[0] in self._columns:
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                yield start, start + chunk.total_compressed_size

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield a row group, whole if it is small.

        A big one is decoded through a small buffer and in pieces: several times less peak memory at the
        same speed.
        """
        meta = self._reader.metadata.row_group(unit.start)
        size = self._decoded_bytes(meta)
        if size <= self._piece_bytes:
            yield self._reader.read_row_group(unit.start, columns=self._columns).select(self._columns)
            return
        rows = max(1, meta.num_rows * self._piece_bytes // size)
        for batch in self._reader.iter_batches(rows, row_groups=[unit.start], columns=self._columns):
            yield pa.Table.from_batches([batch]).select(self._columns)

    def _decoded_bytes(self, meta: pq.RowGroupMetaData) -> int:
        """Estimate what a row group takes in memory.

        What values take in the file says little: a column of one value repeated is stored as a few bytes.
        """
        chunks = (meta.column(i) for i in range(meta.num_columns))
        stored = sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if chunk.path_in_schema.split(".")[0] in self._columns
        )
        return int(max(stored, meta.num_rows * row_bytes(self._schema, self._columns)))

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close(force=True)


def _read_footer(file: pa.NativeFile) -> bytes:
    size = file.size()
    tail: bytes = file.read_at(min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))
    if len(tail) < 12 or tail[-4:] != _MAGIC:
        head = file.read_at(min(8, size), 0)
        cut = "is cut short: it has no Parquet footer. Write the file anew"
        raise ValueError(cut if head.startswith(_MAGIC) else is_no("Parquet", head))
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > len(tail) and length <= size - len(_MAGIC):
        tail = file.read_at(length, size - length)
    return tail[-length:]


def _bounds(meta: pq.RowGroupMetaData, place: int) -> Bounds | None:
    statistics = meta.column(place).statistics
    if statistics is None:
        return None
    low, high = (statistics.min, statistics.max) if statistics.has_min_max else (None, None)
    nulls = statistics.null_count if statistics.has_null_count else None
    return Bounds(low, high, nulls, meta.num_rows)
