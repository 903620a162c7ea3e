"""How a connector gets at rows: a protocol that can be replaced, and what is used by default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

import pyarrow as pa

from mlpools.data import reader
from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve
from mlpools.data.sharding import RowRange
from mlpools.data.sources import DataSource, MemorySource
from mlpools.errors import InvalidSpec


class DataIngestor(Protocol):
    """Rows in groups, of which ranges can be read.

    Shards, order, tensors and outputs know positions in groups only, never where rows come from.
    """

    @classmethod
    def from_sources(cls, sources: Sequence[DataSource], **kwargs: Any) -> Self:
        """Prepare to read sources; keyword arguments are those that a connector was made with."""

    @property
    def data_sources(self) -> list[DataSource]:
        """What the rows come from."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""

    @property
    def group_rows(self) -> list[int]:
        """Rows of each group; they may have to be counted first."""

    def read(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the ranges' rows in order, in pieces of at least one row; None means all rows."""


class ArrowIngestor:
    """Reads planned files, or hands out a table that is in memory already."""

    def __init__(self, sources: Sequence[DataSource], rows: Plan | pa.Table) -> None:
        self._sources = list(sources)
        self._rows = rows

    @classmethod
    def from_sources(cls, sources: Sequence[DataSource], **kwargs: Any) -> Self:
        """Resolve the plan of sources.

        Raises:
            DataNotReadable: a file is missing, damaged or does not fit the others.
            InvalidSpec: there is no source, tables are mixed with files, or an argument is unknown.
        """
        if kwargs:
            raise InvalidSpec(f"{cls.__name__} takes no {', '.join(kwargs)}.")
        tables = [source.table for source in sources if isinstance(source, MemorySource)]
        files = [source for source in sources if not isinstance(source, MemorySource)]
        if bool(files) == bool(tables):
            raise InvalidSpec("A connector needs sources of one kind: either files or tables in memory.")
        return cls(sources, resolve(files) if files else pa.concat_tables(tables))

    @property
    def data_sources(self) -> list[DataSource]:
        """What the rows come from."""
        return list(self._sources)

    @property
    def plan(self) -> Plan | None:
        """The plan of the files, None for tables in memory."""
        return self._rows if isinstance(self._rows, Plan) else None

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""
        return self._rows.schema.remove_metadata()

    @property
    def group_rows(self) -> list[int]:
        """Rows of each unit of the plan, counted when first asked for; a table in memory is one group."""
        if isinstance(self._rows, pa.Table):
            return [self._rows.num_rows]
        self._rows = count(self._rows)
        return self._rows.group_rows

    def read(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the ranges' rows in order; those of a table in memory without a copy."""
        if isinstance(self._rows, Plan):
            return reader.read(self._rows, ranges, columns)
        table = self._rows.select(columns)
        if ranges is None:
            return iter([table] if table.num_rows else [])
        return (table.slice(part.start, part.rows) for part in ranges)

    def random_access(self, rows: int, columns: Sequence[str]) -> bool:
        """Return whether small ranges in any order are read as fast as large ones in the plan's order.

        Args:
            rows: that are read again and again.
            columns: of them.
        """
        return isinstance(self._rows, pa.Table)
