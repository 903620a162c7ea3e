"""Reads row ranges of planned Parquet files as Arrow tables, one row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.data.plan import Plan, PlannedFile
from mlpools.data.sharding import RowRange
from mlpools.errors import DataNotReadable, one_line

#: Row groups above this many bytes in memory are read in buffered pieces: several times less peak memory
#: at the same speed.
_BIG_GROUP_BYTES = 128 << 20
_BUFFER_BYTES = 1 << 20
_BIG_BATCH_ROWS = 1 << 16


def read(plan: Plan, ranges: Sequence[RowRange], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the ranges' rows in order, in the plan's types; only the columns asked for are read.

    Raises:
        DataNotReadable: a file is gone, was replaced, or is damaged.
    """
    schema = pa.schema([plan.schema.field(name) for name in columns])
    current: PlannedFile | None = None
    reader: pq.ParquetFile | None = None
    try:
        for part in ranges:
            file, index = plan.groups[part.group]
            if file is not current:
                if reader is not None:
                    reader.close(force=True)
                current, reader = file, _open(file)
            for table in _read_group(reader, file, index, part, list(columns)):
                yield _cast(table.select(columns), schema, file)
    finally:
        if reader is not None:
            reader.close(force=True)


def _open(file: PlannedFile) -> pq.ParquetFile:
    try:
        reader = pq.ParquetFile(pa.OSFile(file.path), buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except FileNotFoundError as error:
        raise DataNotReadable(f"{file.path} is not there; is the data mounted on every node?") from error
    except (OSError, pa.ArrowException) as error:
        raise DataNotReadable(
            f"{file.path} cannot be read: {one_line(error)}. "
            "Is its volume well, and may the job's user read it?"
        ) from error
    if reader.metadata.num_row_groups != len(file.group_rows):
        raise DataNotReadable(
            f"{file.path} was replaced while the job was starting. Write new data to new files."
        )
    return reader


def _read_group(
    reader: pq.ParquetFile | None, file: PlannedFile, index: int, part: RowRange, columns: list[str]
) -> Iterator[pa.Table]:
    assert reader is not None
    try:
        if reader.metadata.row_group(index).total_byte_size <= _BIG_GROUP_BYTES:
            yield reader.read_row_group(index, columns=columns).slice(part.start, part.rows)
            return
        position = 0
        for batch in reader.iter_batches(_BIG_BATCH_ROWS, row_groups=[index], columns=columns):
            start = max(part.start, position) - position
            stop = min(part.stop, position + batch.num_rows) - position
            if start < stop:
                yield pa.Table.from_batches([batch.slice(start, stop - start)])
            position += batch.num_rows
            if position >= part.stop:
                return
    except (OSError, pa.ArrowException) as error:
        raise DataNotReadable(
            f"{file.path}, row group {index}, is damaged: {one_line(error)}. Write the file anew."
        ) from error


def _cast(table: pa.Table, schema: pa.Schema, file: PlannedFile) -> pa.Table:
    if table.schema.equals(schema):
        return table
    for i, field in enumerate(schema):
        if table.schema.field(i).type != field.type:
            try:
                table = table.set_column(i, field, table.column(i).cast(field.type))
            except pa.ArrowException as error:
                raise DataNotReadable(f"{file.path}, column {field.name!r}: {one_line(error)}") from error
    return table
