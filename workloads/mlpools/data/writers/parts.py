"""Rows to Parquet parts: one writer's share of a result.

Names carry the writer's attempt: a writer that was believed dead and is not cannot touch what another one
has finished. ``commit`` makes the parts of all writers a result.
"""

from __future__ import annotations

import hashlib
import io
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.data.writers import commit, encodings
from mlpools.data.writers.manifest import Part
from mlpools.errors import InvalidSpec, one_line
from mlpools.storage import Location

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: A part fits into one request of an object store and into a small pod's memory.
PART_BYTES = 128 << 20
#: Of rows in memory. As fast to decode as larger groups, and finer to shuffle and to shard.
GROUP_BYTES = 32 << 20
#: In the footer: SHA-256 of all bytes before it.
PAGES_KEY = "mlpools.pages"


class PartsWriter:
    """Writes rows as Parquet parts of even size. Holds one encoded part and one row group in memory.

    A context manager: what it wrote is removed again when the block fails. Several writers (the ranks of
    a gang) may share an attempt.

    Attributes:
        parts: those that are written; complete after ``close``.
    """

    def __init__(
        self,
        target: Location,
        schema: pa.Schema,
        *,
        attempt: str,
        rank: int = 0,
        part_bytes: int = PART_BYTES,
        part_rows: int | None = None,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        """Make a writer; nothing is written yet.

        Args:
            target: the result's folder.
            schema: of the rows; metadata is left out.
            attempt: what ``commit.begin`` returned, the same for all writers of the result.
            rank: of this writer; parts are ordered by rank.
            part_bytes: about so many bytes a file, encoded.
            part_rows: at most so many rows a file.
            group_bytes: about so many bytes a row group, in memory.

        Raises:
            InvalidSpec: a column has a type that Parquet does not have.
        """
        self._target = target
        self._schema = schema.remove_metadata()
        _check_types(self._schema)
        self._prefix = f"{commit.part_prefix(attempt)}{rank:05d}"
        self._part_bytes, self._part_rows, self._group_bytes = part_bytes, part_rows, group_bytes
        self._pending = _Pending()
        self._options: dict[str, Any] | None = None
        self._file: _PartFile | None = None
        self.parts: list[Part] = []

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows.

        Raises:
            InvalidSpec: they do not fit the schema.
            OutputNotWritable: the target refuses.
            OutputExists: another writer finished the result in the meantime.
        """
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        table = _conform(table, self._schema)
        while table.num_rows:
            room = self._room(table)
            self._pending.add(table.slice(0, room))
            table = table.slice(room)
            if self._pending.bytes >= self._group_bytes or self._rows_left() == 0:
                self._write_group()

    def close(self) -> list[Part]:
        """Write what is left and return all parts of this writer."""
        if self._pending.rows:
            self._write_group()
        if self._file is not None:
            self._finish_part()
        return self.parts

    def abort(self) -> None:
        """Remove what was written."""
        self._pending, self._file = _Pending(), None
        commit.remove(self._target, [part.name for part in self.parts])
        self.parts = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()

    def _room(self, table: pa.Table) -> int:
        """Return how many of the rows go into the current row group: at least one."""
        row_bytes = max(1.0, table.nbytes / table.num_rows)
        room = int((self._group_bytes - self._pending.bytes) / row_bytes) + 1
        return min(room, int(table.num_rows), self._rows_left())

    def _rows_left(self) -> int:
        """Return how many rows more the current part may take."""
        if self._part_rows is None:
            return 1 << 62
        return self._part_rows - self._pending.rows - (self._file.rows if self._file else 0)

    def _write_group(self) -> None:
        rows, self._pending = self._pending.table(), _Pending()
        if self._options is None:
            self._options = encodings.writer_options(encodings.choose(rows))
        if self._file is None:
            self._file = _PartFile(self._schema, self._options)
        self._file.write(rows)
        if self._file.size >= self._part_bytes or self._rows_left() == 0:
            self._finish_part()

    def _finish_part(self) -> None:
        assert self._file is not None
        data, part = self._file.close(f"{self._prefix}-{len(self.parts):05d}.parquet")
        self._file = None
        commit.write_part(self._target, part.name, data)
        self.parts.append(part)


class _Pending:
    """Rows of the next row group."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self.rows = 0
        self.bytes = 0

    def add(self, table: pa.Table) -> None:
        self._tables.append(table)
        self.rows += table.num_rows
        self.bytes += table.nbytes

    def table(self) -> pa.Table:
        return pa.concat_tables(self._tables)


class _PartFile:
    """A Parquet file in memory."""

    def __init__(self, schema: pa.Schema, options: dict[str, Any]) -> None:
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(self._sink, schema, write_page_checksum=True, **options)
        self._group_rows: list[int] = []

    @property
    def rows(self) -> int:
        return sum(self._group_rows)

    @property
    def size(self) -> int:
        return self._sink.tell()

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows, row_group_size=rows.num_rows)
        self._group_rows.append(rows.num_rows)

    def close(self, name: str) -> tuple[bytes, Part]:
        self._writer.add_key_value_metadata({PAGES_KEY: self._sink.digest.hexdigest()})
        self._writer.close()
        data = self._sink.getvalue()
        return data, Part(
            name=name,
            rows=self.rows,
            bytes=len(data),
            sha256=self._sink.digest.hexdigest(),
            footer=footer_digest(data),
            group_rows=tuple(self._group_rows),
        )


class _Sink(io.BytesIO):
    """A file in memory that knows the digest of what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def write(self, data: ReadableBuffer) -> int:
        self.digest.update(data)
        return super().write(data)


def footer_digest(data: bytes) -> str:
    """Return the SHA-256 of a Parquet file's footer, its length and the closing magic."""
    length = int.from_bytes(data[-8:-4], "little") + 8
    return hashlib.sha256(data[-length:]).hexdigest()


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.equals(schema):
        return table
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowException) as error:
        raise InvalidSpec(
            f"Rows do not fit the columns that were announced: {one_line(error)}. "
            f"Expected: {_columns(schema)}; given: {_columns(table.schema)}."
        ) from error


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _check_types(schema: pa.Schema) -> None:
    for field in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except pa.ArrowException as error:
            raise InvalidSpec(
                f"Column {field.name!r} is {field.type}, which Parquet lacks. Convert it, or leave it out."
            ) from error
