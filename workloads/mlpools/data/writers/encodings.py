"""How each column is laid down in Parquet: tried on a sample of its own rows.

The defaults of Arrow's writer (a dictionary and Snappy for every column) make files of floats with many
different values half again as big and twice as slow to decode as plain ones. Data is written once and read
many times, so decoding counts more than a few bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: The sample: blocks of neighbouring rows (order matters to a codec), spread over all.
_BLOCKS = 16
_BLOCK_ROWS = 4096


@dataclasses.dataclass(frozen=True)
class Layout:
    """One way to write a column."""

    dictionary: bool = False
    split: bool = False
    codec: str = "NONE"


PLAIN = Layout()
#: What a byte of each layout counts: decoding has to be worth it. LZ4 decodes several times as fast as
#: Snappy and Zstandard; splitting the bytes of numbers makes sorted ids and times small.
_CANDIDATES = {
    PLAIN: 1.0,
    Layout(codec="LZ4"): 1.25,
    Layout(dictionary=True, codec="LZ4"): 1.25,
    Layout(split=True, codec="LZ4"): 1.25,
}


def choose(rows: pa.Table) -> dict[str, Layout]:
    """Return a layout for each leaf column, by its path in the Parquet schema."""
    sample = _sample(rows)
    costs: dict[str, dict[Layout, float]] = {}
    for layout, weight in _CANDIDATES.items():
        for path, size in _sizes(sample, layout).items():
            costs.setdefault(path, {})[layout] = weight * size
    return {path: min(of_path, key=of_path.__getitem__) for path, of_path in costs.items()}


def writer_options(layouts: Mapping[str, Layout]) -> dict[str, Any]:
    """Return the arguments of ``pyarrow.parquet.ParquetWriter`` for these layouts."""
    return {
        "use_dictionary": [path for path, layout in layouts.items() if layout.dictionary],
        "use_byte_stream_split": [path for path, layout in layouts.items() if layout.split],
        "compression": {path: layout.codec for path, layout in layouts.items()},
    }


def _sample(rows: pa.Table) -> pa.Table:
    if rows.num_rows <= _BLOCKS * _BLOCK_ROWS:
        return rows
    step = rows.num_rows // _BLOCKS
    return pa.concat_tables(rows.slice(i * step, _BLOCK_ROWS) for i in range(_BLOCKS)).combine_chunks()


def _sizes(rows: pa.Table, layout: Layout) -> dict[str, int]:
    """Return the bytes that each leaf column takes; only those that can have this layout."""
    if layout.split:
        rows = rows.select([field.name for field in rows.schema if _splits(field.type)])
    paths = _leaves(rows.schema)
    if not paths:
        return {}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, rows.schema, **writer_options(dict.fromkeys(paths, layout)), store_schema=False
    ) as writer:
        writer.write_table(rows, row_group_size=max(1, rows.num_rows))
    group = pq.read_metadata(pa.BufferReader(sink.getvalue())).row_group(0)
    columns = (group.column(i) for i in range(group.num_columns))
    return {column.path_in_schema: column.total_compressed_size for column in columns}


def _splits(kind: pa.DataType) -> bool:
    """Whether the bytes of a column of numbers can be split."""
    types = pa.types
    return bool(
        types.is_floating(kind) or types.is_integer(kind) or types.is_temporal(kind) or types.is_decimal(kind)
    )


def _leaves(schema: pa.Schema) -> list[str]:
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    parquet = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return [parquet.column(i).path for i in range(len(parquet))]
