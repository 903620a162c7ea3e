"""Whole groups from data in any order: one rank's groups, laid down together on the cache disk.

Every rank reads all rows once and keeps those whose group hashes to it, so ranks need no way to each other.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlpools import budgets
from mlpools.data import scratch
from mlpools.data.groups import codes
from mlpools.data.hashing import hash64
from mlpools.data.ingestor import ArrowIngestor, DataIngestor
from mlpools.data.sizes import stored_row_bytes
from mlpools.data.sources import MemorySource, ParquetSource
from mlpools.errors import DataNotReadable

#: Of all processes' folders, below the cache folder.
_ROOT = "groups"
#: A part is sorted in memory, and becomes a row group.
_PART_BYTES = 64 << 20
#: Files that are open at once.
_MOST_PARTS = 512


def hash_shuffle(
    ingestor: DataIngestor, columns: Sequence[str], column: str, rank: int, world_size: int
) -> ArrowIngestor:
    """Return one rank's groups, the rows of each one after the other and in their order.

    Args:
        ingestor: reads the rows of all ranks.
        columns: of the rows, ``column`` among them.
        column: rows with equal values are a group; nulls are one.
        rank: 0 … ``world_size`` - 1.
        world_size: number of ranks.

    Raises:
        DataNotReadable: the cache disk has too little room.
        InvalidSpec: the column's type cannot be grouped by.
    """
    expected = int(sum(ingestor.group_rows) * stored_row_bytes(ingestor, columns) / world_size)
    room = budgets.disk(budgets.cache_folder() / _ROOT)
    if 2 * expected > room:
        raise DataNotReadable(
            f"The rows are not sorted by {column!r}. To bring its groups together takes about "
            f"{2 * expected / 1e9:,.1f} GB of the cache disk, where {room / 1e9:,.1f} GB are free. Sort the "
            f"data by {column!r}, choose fewer columns, or give the pool a larger cache."
        )
    folder = Path(tempfile.mkdtemp(dir=scratch.of_process(_ROOT)))
    try:
        parts = min(_MOST_PARTS, expected // _PART_BYTES + 1)
        _scatter(ingestor.read(None, columns), column, rank, world_size, folder, parts)
        schema = pa.schema([ingestor.schema.field(name) for name in columns])
        found = _gather(schema, column, folder)
        empty = MemorySource(schema.empty_table())
        shuffled = ArrowIngestor.from_sources([ParquetSource((str(found),)) if found else empty])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(shuffled, shutil.rmtree, folder, ignore_errors=True)
    return shuffled


def _scatter(
    tables: Iterable[pa.Table], column: str, rank: int, world_size: int, folder: Path, parts: int
) -> None:
    """Write this rank's rows to parts, each of whole groups."""
    with contextlib.ExitStack() as stack:
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        for table in tables:
            hashes = hash64(table.column(column).combine_chunks(), column)
            mine = np.flatnonzero(hashes % np.uint64(world_size) == rank)
            part = hashes[mine] // np.uint64(world_size) % np.uint64(parts)
            for number in np.unique(part).tolist():
                if number not in writers:
                    writer = pa.ipc.new_stream(str(folder / f"{number:05d}.arrow"), table.schema)
                    writers[number] = stack.enter_context(writer)
                writers[number].write_table(table.take(pa.array(mine[part == number])))


def _gather(schema: pa.Schema, column: str, folder: Path) -> Path | None:
    """Bring the groups of each part together, and the parts into one file; return it if there are rows."""
    sources = sorted(folder.glob("*.arrow"))
    if not sources:
        return None
    target = folder / "groups.parquet"
    with pq.ParquetWriter(target, schema, compression="none", use_dictionary=False) as writer:
        for source in sources:
            with pa.ipc.open_stream(str(source)) as stream:
                table = stream.read_all()
            order = np.argsort(codes(table.column(column).combine_chunks()), kind="stable")
            writer.write_table(table.take(pa.array(order)), row_group_size=table.num_rows)
            source.unlink()
    return target
