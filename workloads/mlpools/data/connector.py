"""``DataConnector``: one way to data, whatever it is stored in."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from mlpools.data import frames, progress, sharding
from mlpools.data.described import Description
from mlpools.data.ingestor import ArrowIngestor, DataIngestor
from mlpools.data.sharding import RowRange
from mlpools.data.sources import DataSource, MemorySource, ParquetSource, as_sources, texts
from mlpools.errors import DataNotReadable, at_hand
from mlpools.gang import Gang

if TYPE_CHECKING:
    from mlpools.data.dataset import Dataset


class DataConnector:
    """Rows of one or many sources, read when they are asked for.

    Picklable. A connector of files holds their plan, not their rows: it sees the files that were there
    when it was made.
    """

    #: What reads the sources unless a constructor is told another one.
    DEFAULT_INGESTOR_CLASS: ClassVar[type[DataIngestor]] = ArrowIngestor

    def __init__(self, ingestor: DataIngestor, ranges: Sequence[RowRange] | None = None) -> None:
        """Make a connector from what reads its rows.

        Args:
            ingestor: gives the rows.
            ranges: which of them are this connector's, in order; all by default.
        """
        self._ingestor = ingestor
        self._ranges = None if ranges is None else list(ranges)

    @classmethod
    def from_sources(
        cls,
        sources: DataSource | str | Sequence[DataSource | str],
        *,
        ingestor_class: type[DataIngestor] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Connect to sources, read one after the other; a string is the path or URL of Parquet files.

        Args:
            sources: either files and what becomes files, or tables in memory.
            ingestor_class: what reads them.
            **kwargs: for the ingestor.

        Raises:
            DataNotReadable: a file is missing, damaged or does not fit the others.
        """
        ingestor = ingestor_class or cls.DEFAULT_INGESTOR_CLASS
        return cls(ingestor.from_sources(as_sources(sources), **kwargs))

    @classmethod
    def from_parquet(
        cls, url: str | Sequence[str], *, options: Mapping[str, Any] | None = None, **selection: Any
    ) -> Self:
        """Connect to Parquet files.

        Args:
            url: files, folders or globs; paths or URLs.
            options: see ``formats.parquet.Parquet``, named as in a job's spec.
            **selection: ``columns``, ``filter``, ``limit``.
        """
        return cls.from_sources(ParquetSource(texts(url), options or {}, **selection))

    @classmethod
    def from_sql(
        cls,
        query: str,
        connection: Any,
        *,
        partition_on: str = "",
        stage: str = "",
        ingestor_class: type[DataIngestor] | None = None,
        **selection: Any,
    ) -> Self:
        """Connect to the rows of a query, which are read now, once and under one snapshot.

        Args:
            query: one SELECT.
            connection: URI of the database, folder of a mounted Secret, or an open connection.
            partition_on: see ``SqlSource``, as for ``stage``.
            stage: URL of the folder for the rows.
            ingestor_class: what reads them.
            **selection: ``columns``, ``filter``, ``limit``.

        Raises:
            DataNotReadable: there is no way in, the query fails, or a type has no form here.
        """
        from mlpools.data.sql.source import SqlSource

        source = SqlSource(query, connection, partition_on, stage, **selection)
        return cls.from_sources(source, ingestor_class=ingestor_class)

    @classmethod
    def from_dataframe(cls, df: Any, ingestor_class: type[DataIngestor] | None = None, **kwargs: Any) -> Self:
        """Connect to a frame in memory: see ``frames.to_table`` for what is one.

        Its memory is shared where it has Arrow's form: do not change values in place afterwards.
        """
        return cls.from_sources(MemorySource(frames.to_table(df)), ingestor_class=ingestor_class, **kwargs)

    @classmethod
    def from_ray_dataset(cls, ray_ds: Any) -> Self:
        """Connect to a ``ray.data.Dataset``, whose rows are streamed.

        Every row comes exactly once in each epoch. Ray does not keep an order between epochs or
        processes: there is no order by seed, and ``state_dict`` refuses.
        """
        from mlpools.data.ray_ingestor import RayIngestor

        return cls(RayIngestor(ray_ds))

    def part(self, ranges: Sequence[RowRange]) -> DataConnector:
        """Return a connector to some of the rows, in the order given."""
        return DataConnector(self._ingestor, ranges)

    @classmethod
    def from_dataset(
        cls,
        ds: Dataset,
        *,
        ingestor_class: type[DataIngestor] | None = None,
        columns: Sequence[str] = (),
        **kwargs: Any,
    ) -> Self:
        """Connect to the selected version of a data set.

        Args:
            ds: with a version selected.
            ingestor_class: what reads it.
            columns: to read; by default features and labels, and not the excluded columns.
            **kwargs: for the ingestor.

        Raises:
            InvalidSpec: no version is selected.
            DataNotReadable: the version is gone, or its bytes changed.
        """
        source = ds.source(columns=texts(columns))
        return cls.from_sources(source, ingestor_class=ingestor_class, **kwargs)

    @property
    def data_sources(self) -> list[DataSource]:
        """What this connector was made of."""
        return self._ingestor.data_sources

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""
        return self._ingestor.schema

    @functools.cached_property
    def num_rows(self) -> int:
        """Number of rows: from metadata, or counted where the format or a filter needs it."""
        return sum(self._ingestor.group_rows if self._ranges is None else (r.rows for r in self._ranges))

    @property
    def ranges(self) -> list[RowRange]:
        """The row ranges this connector reads."""
        return sharding.everything(self._ingestor.group_rows) if self._ranges is None else list(self._ranges)

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
        known = self._known_rows
        total = known if known is None or limit is None else min(known, limit)
        for table in progress.watched(self.to_tables(columns), total):
            tables.append(table if limit is None else table.slice(0, limit - rows))
            rows += tables[-1].num_rows
            if limit is not None and rows >= limit:
                break
        if tables:
            return pa.concat_tables(tables)
        names = self.schema.names if columns is None else columns
        return pa.schema([self.schema.field(name) for name in names]).empty_table()

    def to_pandas(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> Any:
        """Return all rows, or the first ``limit``, as a ``pandas.DataFrame``."""
        # Gives Arrow's memory back column by column: rows are not in memory twice.
        return self.to_arrow(limit, columns=columns).to_pandas(self_destruct=True)

    def to_polars(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> Any:
        """Return all rows, or the first ``limit``, as a ``polars.DataFrame``."""
        import polars

        return polars.from_arrow(self.to_arrow(limit, columns=columns))

    def to_ray_dataset(self) -> Any:
        """Return a lazy ``ray.data.Dataset``: Ray's workers read the rows, each its own row groups.

        Files have to be where every node of the Ray cluster sees them.
        """
        if hasattr(self._ingestor, "to_ray_dataset"):
            return self._ingestor.to_ray_dataset()
        from mlpools.data.outputs import ray

        return ray.to_ray_dataset(self)

    def __repr__(self) -> str:
        return self._description.text()

    def _repr_html_(self) -> str:
        return self._description.html()

    @property
    def _known_rows(self) -> int | None:
        """Number of rows, if nothing has to be read or run to know it."""
        if self._ranges is not None:
            return sum(part.rows for part in self._ranges)
        ingestor = self._ingestor
        if not isinstance(ingestor, ArrowIngestor) or (ingestor.plan and not ingestor.plan.counted):
            return None
        return self.num_rows

    @property
    def _description(self) -> Description:
        plan = self._ingestor.plan if isinstance(self._ingestor, ArrowIngestor) else None
        files = None if plan is None or self._ranges is not None else plan.files
        sources = [str(source) for source in self.data_sources] or [type(self._ingestor).__name__]
        return Description(
            kind=type(self).__name__,
            sources=sources if self._ranges is None else [f"a part of {sources[0]}", *sources[1:]],
            schema=self.schema,
            rows=self._known_rows,
            files=None if files is None else len(files),
            size=None if files is None else sum(file.size for file in files),
        )


class ShardedDataConnector(DataConnector):
    """A connector whose rows are dealt out to the ranks of a gang.

    Every rank must make it from the same plan: unpickle it, or read the same unchanging files.
    """

    equal = False
    seed = 0

    @classmethod
    def from_sources(
        cls,
        sources: DataSource | str | Sequence[DataSource | str],
        *,
        equal: bool = False,
        seed: int = 0,
        ingestor_class: type[DataIngestor] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Connect to sources whose rows are dealt out; ``equal`` and ``seed`` as in ``sharding.shard``."""
        connector = super().from_sources(sources, ingestor_class=ingestor_class, **kwargs)
        connector.equal, connector.seed = equal, seed
        return connector

    @classmethod
    def from_ray_dataset(cls, ray_ds: Any, *, equal: bool = False, seed: int = 0) -> Self:
        """Connect to a ``ray.data.Dataset`` whose rows are dealt out.

        The first shard runs it; its blocks stay in Ray's object store. Every rank needs this connector
        itself, by pickle within one Ray cluster: another run may have another order.
        """
        connector = super().from_ray_dataset(ray_ds)
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
        return self.part(ranges)


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
