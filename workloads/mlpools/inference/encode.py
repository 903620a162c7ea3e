"""Predictions into a file of one shard: Parquet, CSV or Arrow, digested while it is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mlpools.data.writers.hashing_file import HashingFile
from mlpools.data.writers.manifest import Part
from mlpools.data.writers.parts import footer_digest
from mlpools.errors import InvalidSpec, OutputNotWritable
from mlpools.inference.settings import Format

SUFFIXES: dict[Format, str] = {"parquet": ".parquet", "csv": ".csv", "arrow": ".arrow"}
#: Rows of a row group, and how many bytes in memory end it before.
_GROUP_ROWS, _GROUP_BYTES = 1 << 20, 64 << 20
_FOOTER_BYTES = 64 << 20


class PartFile:
    """A local file that becomes the part of a shard.

    Memory: one row group. Whatever goes wrong leaves nothing behind, if ``abandon`` is called.

    Attributes:
        path: of the file.
        rows: written so far.
    """

    def __init__(self, path: Path, schema: pa.Schema, form: Format) -> None:
        """Open a new file.

        Raises:
            OutputNotWritable: the volume refuses.
        """
        self.path = path
        self.rows = 0
        self._form = form
        self._held: list[pa.Table] = []
        self._held_rows = self._held_bytes = 0
        self._group_rows: list[int] = []
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = HashingFile(path)
            try:
                self._writer = _writer(self._file, schema, form)
            except BaseException:
                self._file.close()
                path.unlink(missing_ok=True)
                raise

    def write(self, rows: pa.Table) -> None:
        """Add rows of the schema.

        Raises:
            OutputNotWritable: the volume refuses, it may be full.
        """
        self.rows += rows.num_rows
        self._held.append(rows)
        self._held_rows += rows.num_rows
        self._held_bytes += rows.nbytes
        if self._held_rows >= _GROUP_ROWS or self._held_bytes >= _GROUP_BYTES:
            self._write_group()

    def finish(self, name: str) -> Part:
        """Write what is left, close the file, and return what it is.

        Args:
            name: of the part.

        Raises:
            OutputNotWritable: the volume refuses.
        """
        if self._held_rows:
            self._write_group()
        with self._writing():
            self._writer.close()
            size = self._file.tell()
            self._file.close()
            footer = _footer(self.path, size) if self._form == "parquet" else ""
        return Part(name, self.rows, size, self._file.digest.hexdigest(), footer, tuple(self._group_rows))

    def abandon(self) -> None:
        """Close the file and remove it."""
        self._held = []
        with contextlib.suppress(OSError, pa.ArrowException, ValueError):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write_group(self) -> None:
        group = pa.concat_tables(self._held)
        self._held, self._held_rows, self._held_bytes = [], 0, 0
        with self._writing():
            if self._form == "parquet":
                self._writer.write_table(group, row_group_size=group.num_rows)
            else:
                self._writer.write_table(group)
        self._group_rows.append(group.num_rows)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputNotWritable(
                f"{self.path} cannot be written: {why}. Mount a volume there that has space and that the "
                "job's user may write to."
            ) from error


def stored_schema(schema: pa.Schema, form: Format) -> pa.Schema:
    """Return the columns as a format has them: CSV has a column for each value of a list.

    Raises:
        InvalidSpec: a column is of a type that the format lacks.
    """
    if form == "csv":
        schema = pa.schema([field for one in schema for field in _flat_fields(one)])
    for field in schema:
        try:
            sink = pa.BufferOutputStream()
            with _writer(sink, pa.schema([field]), form) as writer:
                writer.write_table(pa.schema([field]).empty_table())
        except (pa.ArrowException, NotImplementedError) as error:
            raise InvalidSpec(
                f"Column {field.name!r} is {field.type}, which {form} lacks. Leave it out of output.keep, or "
                "choose another output.format."
            ) from error
    return schema


def stored(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows as ``stored_schema`` has them."""
    if rows.schema.names == schema.names:
        return rows
    columns: list[Any] = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_fixed_size_list(field.type):
            values = column.combine_chunks()
            size = field.type.list_size
            flat = values.flatten() if not values.null_count else values.fill_null([None] * size).flatten()
            columns += [flat.take(pa.array(range(at, len(flat), size), pa.int64())) for at in range(size)]
        else:
            columns.append(column)
    return pa.table(columns, schema=schema)


def _flat_fields(field: pa.Field) -> list[pa.Field]:
    if not pa.types.is_fixed_size_list(field.type):
        return [field]
    return [pa.field(f"{field.name}_{i}", field.type.value_type) for i in range(field.type.list_size)]


def _writer(sink: Any, schema: pa.Schema, form: Format) -> Any:
    if form == "csv":
        return pa.csv.CSVWriter(sink, schema)
    if form == "arrow":
        return pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
    # By type alone, so that equal rows are equal bytes: dictionaries and codecs cost more than they spare
    # where nearly every value is another one.
    texts = [field.name for field in schema if not _is_number(field.type)]
    return pq.ParquetWriter(
        sink,
        schema,
        write_page_checksum=True,
        use_dictionary=texts,
        compression={name: "LZ4" if name in texts else "NONE" for name in schema.names},
    )


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _footer(path: Path, size: int) -> str:
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little") + 8
        file.seek(max(0, size - min(length, _FOOTER_BYTES)))
        return footer_digest(file.read())
