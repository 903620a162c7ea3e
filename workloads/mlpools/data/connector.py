"""``DataConnector``: one way to data, whatever it is stored in."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

import pyarrow as pa

from mlpools.data import reader, sharding
from mlpools.data.plan import Plan, resolve
from mlpools.data.sharding import RowRange
from mlpools.data.sources import ArrowSource, DataSource, ParquetSource, as_sources
from mlpools.errors import DataNotReadable, at_hand
from mlpools.gang import Gang


class Ingestor(Protocol):
    """How a connector gets at rows; one implementation for each kind of source."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""

    @property
    def group_rows(self) -> list[int]:
        """Rows of each row group, from metadata."""

    def read(self, ranges: Sequence[RowRange], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the ranges' rows in order."""


class ParquetIngestor:
    """Reads planned Parquet files."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.schema = plan.schema
        self.group_rows = plan.group_rows

    def read(self, ranges: Sequence[RowRange], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the ranges' rows in order."""
        return reader.read(self.plan, ranges, columns)


class ArrowIngestor:
    """Hands out a table that is in memory already."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema = table.schema.remove_metadata()
        self.group_rows = [table.num_rows]

    def read(self, ranges: Sequence[RowRange], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the ranges' rows in order, without a copy."""
        table = self._table.select(columns)
        return (table.slice(part.start, part.rows) for part in ranges)


class DataConnector:
    """Rows of one or many sources, read when they are asked for.

    Picklable. A connector of files holds their plan, not their rows: it sees the files that were there
    when it was made.
    """

    def __init__(
        self, sources: Sequence[DataSource], ingestor: Ingestor, ranges: Sequence[RowRange] | None = None
    ) -> None:
        self._sources = tuple(sources)
        self._ingestor = ingestor
        self._ranges = sharding.everything(ingestor.group_rows) if ranges is None else list(ranges)

    @classmethod
    def from_sources(cls, sources: DataSource | str | Sequence[DataSource | str]) -> Self:
        """Connect to sources of one kind; a string is the path or URL of Parquet files.

        Raises:
            DataNotReadable: a file is missing, damaged or does not fit the others.
        """
        given = as_sources(sources)
        files = [source for source in given if isinstance(source, ParquetSource)]
        tables = [source.table for source in given if isinstance(source, ArrowSource)]
        if bool(files) == bool(tables):
            raise DataNotReadable("A connector needs sources of one kind: either files or tables.")
        if tables:
            return cls(given, ArrowIngestor(pa.concat_tables(tables)))
        urls = tuple(itertools.chain.from_iterable(source.urls for source in files))
        return cls(given, ParquetIngestor(resolve(ParquetSource(urls))))

    @classmethod
    def from_parquet(cls, url: str | Sequence[str]) -> Self:
        """Connect to Parquet files: paths or ``file://`` URLs of files, folders or globs."""
        return cls.from_sources([url] if isinstance(url, str) else url)

    @classmethod
    def from_dataframe(cls, frame: Any) -> Self:
        """Connect to a ``pyarrow.Table`` or ``RecordBatch``, or a pandas data frame."""
        if isinstance(frame, pa.RecordBatch):
            frame = pa.Table.from_batches([frame])
        elif not isinstance(frame, pa.Table):
            frame = pa.Table.from_pandas(frame, preserve_index=False)
        return cls.from_sources(ArrowSource(frame))

    @property
    def data_sources(self) -> list[DataSource]:
        """What this connector was made of."""
        return list(self._sources)

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""
        return self._ingestor.schema

    @functools.cached_property
    def num_rows(self) -> int:
        """Number of rows, known from metadata."""
        return sum(part.rows for part in self._ranges)

    @property
    def ranges(self) -> list[RowRange]:
        """The row ranges this connector reads."""
        return list(self._ranges)

    def to_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows in pieces as they are stored: whole row groups, or the part in this shard.

        Args:
            columns: which to read, in this order; all by default. Others are not read from disk.
        """
        names = self.schema.names if columns is None else list(columns)
        for name in names:
            if self.schema.get_field_index(name) < 0:
                raise DataNotReadable(
                    f"There is no column {name!r}. {at_hand(name, self.schema.names, 'Columns')}"
                )
        return self._ingestor.read(self._ranges, names)

    def to_batches(
        self,
        batch_size: int | None = None,
        *,
        columns: Sequence[str] | None = None,
        drop_last_batch: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Yield record batches.

        Args:
            batch_size: rows of each batch, across row groups and files; only the last one may have
                fewer. By default as they are stored.
            columns: which to read; all by default.
            drop_last_batch: leave out a last batch with fewer rows.
        """
        tables = self.to_tables(columns)
        if batch_size is None:
            return (batch for table in tables for batch in table.combine_chunks().to_batches())
        return _rebatch(tables, batch_size, drop_last_batch)

    def to_arrow(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows, or the first ``limit``, as one table."""
        tables, rows = [], 0
        for table in self.to_tables(columns):
            tables.append(table if limit is None else table.slice(0, limit - rows))
            rows += tables[-1].num_rows
            if limit is not None and rows >= limit:
                break
        if tables:
            return pa.concat_tables(tables)
        names = self.schema.names if columns is None else columns
        return pa.schema([self.schema.field(name) for name in names]).empty_table()

    def to_pandas(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> Any:
        """Return all rows, or the first ``limit``, as a pandas data frame."""
        return self.to_arrow(limit, columns=columns).to_pandas()


class ShardedDataConnector(DataConnector):
    """A connector whose rows are dealt out to the ranks of a gang.

    Every rank must make it from the same plan: unpickle it, or read the same unchanging files.
    """

    equal = False
    seed = 0

    @classmethod
    def from_sources(
        cls, sources: DataSource | str | Sequence[DataSource | str], *, equal: bool = False, seed: int = 0
    ) -> Self:
        """Connect to sources whose rows are to be dealt out; arguments as in ``sharding.shard``."""
        connector = super().from_sources(sources)
        connector.equal, connector.seed = equal, seed
        return connector

    def get_shard(self, gang: Gang | None = None, *, epoch: int = 0) -> DataConnector:
        """Return the rows of one rank: of the calling one by default.

        Args:
            gang: rank and world size, by default what the environment says.
            epoch: with ``equal`` the dropped rows change with it.
        """
        gang = gang or Gang.from_environment()
        ranges = sharding.shard(
            self._ingestor.group_rows,
            gang.rank,
            gang.world_size,
            equal=self.equal,
            seed=self.seed,
            epoch=epoch,
        )
        return DataConnector(self._sources, self._ingestor, ranges)


def _rebatch(tables: Iterator[pa.Table], batch_size: int, drop_last: bool) -> Iterator[pa.RecordBatch]:
    kept: list[pa.Table] = []
    rows = 0
    for table in tables:
        kept.append(table)
        rows += table.num_rows
        while rows >= batch_size:
            whole = pa.concat_tables(kept)
            yield whole.slice(0, batch_size).combine_chunks().to_batches()[0]
            kept, rows = [whole.slice(batch_size)], rows - batch_size
    if rows and not drop_last:
        yield pa.concat_tables(kept).combine_chunks().to_batches()[0]
