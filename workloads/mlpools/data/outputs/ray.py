"""A connector's rows as a Ray Dataset whose tasks read them, each its own row groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from mlpools.data.outputs.parts import divide
from mlpools.data.shard import size_in_memory
from mlpools.data.sharding import RowRange
from mlpools.data.sources import MemorySource

if TYPE_CHECKING:
    from mlpools.data.connector import DataConnector

#: Rows in memory go to the object store in pieces of about so many bytes.
_PIECE_BYTES = 128 << 20


def to_ray_dataset(connector: DataConnector) -> Any:
    """Return a lazy ``ray.data.Dataset``; nothing is read before its first use.

    Ray reads by tasks on its workers, a run of row groups each, and not through this process. A table in
    memory is put into Ray's object store at once, as there is no other way to it.
    """
    if any(isinstance(source, MemorySource) for source in connector.data_sources):
        return ray.data.from_arrow(_pieces(connector.to_arrow()))
    return ray.data.read_datasource(_Rows(connector))


class _Rows(Datasource):  # type: ignore[misc]  # ray has no types
    """How Ray gets at a connector's rows."""

    def __init__(self, connector: DataConnector) -> None:
        super().__init__()
        self._connector = connector

    def get_name(self) -> str:
        return "mlpools"

    def estimate_inmemory_data_size(self) -> int:
        return size_in_memory(self._connector, self._connector.schema.names)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        # Once for all tasks: a plan of many files is large.
        shared = ray.put(self._connector)
        width = self.estimate_inmemory_data_size() / max(1, self._connector.num_rows)
        return [
            _task(shared, part, self._connector.schema, width, per_task_row_limit)
            for part in divide(self._connector.ranges, parallelism)
        ]


def _task(
    shared: Any, part: list[RowRange], schema: pa.Schema, width: float, row_limit: int | None
) -> ReadTask:
    rows = sum(each.rows for each in part)
    metadata = BlockMetadata(num_rows=rows, size_bytes=int(rows * width), exec_stats=None, input_files=None)
    return ReadTask(
        lambda: ray.get(shared).part(part).to_tables(), metadata, schema=schema, per_task_row_limit=row_limit
    )


def _pieces(table: pa.Table) -> list[pa.Table]:
    rows = max(1, _PIECE_BYTES * table.num_rows // max(1, table.nbytes))
    return [table.slice(start, rows) for start in range(0, table.num_rows, rows)] or [table]
