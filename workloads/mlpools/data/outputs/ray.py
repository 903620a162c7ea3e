"""A connector's rows as a Ray Dataset whose tasks read them, each its own row groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from mlpools.data.ingestor import DataIngestor
from mlpools.data.outputs.parts import divide
from mlpools.data.sharding import RowRange, everything
from mlpools.data.sizes import stored_row_bytes
from mlpools.data.sources import MemorySource

#: Rows in memory go to the object store in pieces of about so many bytes.
_PIECE_BYTES = 128 << 20


def to_ray_dataset(ingestor: DataIngestor, ranges: Sequence[RowRange] | None) -> Any:
    """Return a lazy ``ray.data.Dataset``; nothing is read before its first use.

    Ray reads by tasks on its workers, a run of row groups each, and not through this process. A table in
    memory is put into Ray's object store at once, as there is no other way to it.

    Args:
        ingestor: reads the rows.
        ranges: which of them; None for all.
    """
    if any(isinstance(source, MemorySource) for source in ingestor.data_sources):
        tables = list(ingestor.read(ranges, ingestor.schema.names)) or [ingestor.schema.empty_table()]
        return ray.data.from_arrow([piece for table in tables for piece in _pieces(table)])
    return ray.data.read_datasource(_Rows(ingestor, ranges))


class _Rows(Datasource):  # type: ignore[misc]  # ray has no types
    """How Ray gets at rows."""

    def __init__(self, ingestor: DataIngestor, ranges: Sequence[RowRange] | None) -> None:
        super().__init__()
        self._ingestor = ingestor
        self._ranges = everything(ingestor.group_rows) if ranges is None else list(ranges)
        self._row_bytes = stored_row_bytes(ingestor, ingestor.schema.names)

    def get_name(self) -> str:
        return "mlpools"

    def estimate_inmemory_data_size(self) -> int:
        return int(self._row_bytes * sum(part.rows for part in self._ranges))

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        # Once for all tasks: a plan of many files is large.
        shared = ray.put(self._ingestor)
        return [self._task(shared, part, per_task_row_limit) for part in divide(self._ranges, parallelism)]

    def _task(self, shared: Any, part: list[RowRange], row_limit: int | None) -> ReadTask:
        schema = self._ingestor.schema
        rows = sum(each.rows for each in part)
        metadata = BlockMetadata(
            num_rows=rows, size_bytes=int(rows * self._row_bytes), exec_stats=None, input_files=None
        )
        return ReadTask(
            lambda: ray.get(shared).read(part, schema.names),
            metadata,
            schema=schema,
            per_task_row_limit=row_limit,
        )


def _pieces(table: pa.Table) -> list[pa.Table]:
    rows = max(1, _PIECE_BYTES * table.num_rows // max(1, table.nbytes))
    return [table.slice(start, rows) for start in range(0, table.num_rows, rows)] or [table]
