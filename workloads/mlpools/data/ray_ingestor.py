"""The rows of a Ray Dataset: streamed as Ray makes them, or block by block where positions matter."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Self

import pyarrow as pa
import ray

from mlpools.data.sharding import RowRange
from mlpools.data.sources import DataSource
from mlpools.errors import InvalidSpec


class RayIngestor:
    """Reads a Ray Dataset.

    All rows are streamed. For a part of them, as shards and shuffles need it, the data set is run once and
    kept in Ray's object store; its blocks are the groups then. Ray may run it in another order the next time,
    so positions mean nothing to another process, and no epoch can be resumed.
    """

    #: Whether the same positions may be other rows in another process or attempt.
    unordered = True

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    @classmethod
    def from_sources(cls, sources: Sequence[DataSource], **kwargs: Any) -> Self:
        """Refuse: a data set that is there already is no source.

        Raises:
            InvalidSpec: always.
        """
        raise InvalidSpec("Sources are not read through Ray; use DataConnector.from_ray_dataset(dataset).")

    @property
    def data_sources(self) -> list[DataSource]:
        """None: what the data set was made from is Ray's knowledge."""
        return []

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """Names and types of all columns; Ray may have to make the first rows to know them."""
        found = self._dataset.schema()
        if found is None:
            return pa.schema([])
        if isinstance(found.base_schema, pa.Schema):
            return found.base_schema.remove_metadata()
        first = next(iter(self._dataset.limit(1).iter_batches(batch_size=None, batch_format="pyarrow")))
        return first.schema.remove_metadata()

    @functools.cached_property
    def group_rows(self) -> list[int]:
        """Rows of each block; runs the data set."""
        count = ray.remote(num_cpus=0)(lambda block: block.num_rows)
        counts: list[int] = ray.get([count.remote(block) for block in self._blocks])
        return counts

    def read(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the ranges' rows in order, or all rows as Ray makes them."""
        if ranges is not None:
            for part in ranges:
                block = ray.get(self._blocks[part.group])
                yield self._fit(block.slice(part.start, part.rows), columns)
            return
        for batch in self._dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            if batch.num_rows:
                yield self._fit(batch, columns)

    def to_ray_dataset(self) -> Any:
        """Return the data set itself."""
        return self._dataset

    @functools.cached_property
    def _blocks(self) -> list[Any]:
        blocks: list[Any] = self._dataset.to_arrow_refs()
        return blocks

    def _fit(self, rows: pa.Table, columns: Sequence[str]) -> pa.Table:
        wanted = pa.schema([self.schema.field(name) for name in columns])
        return rows.select(columns).cast(wanted)
