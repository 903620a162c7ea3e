"""How a connector gets at rows: a protocol that can be replaced, and what is used by default."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import pyarrow as pa

from mlpools import budgets
from mlpools.contract.wiring import CACHE_ENV
from mlpools.data import reader
from mlpools.data.cache.decoded import DecodedCache
from mlpools.data.cache.files import FileCache
from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve
from mlpools.data.sharding import RowRange
from mlpools.data.sizes import row_bytes
from mlpools.data.sources import DataSource, MemorySource
from mlpools.errors import InvalidSpec
from mlpools.storage.shelf import Shelf


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

    def __init__(
        self,
        sources: Sequence[DataSource],
        rows: Plan | pa.Table,
        *,
        cache: bool | None = None,
        use_file_cache: bool = True,
        file_cache_config: Mapping[str, Any] | None = None,
        again: bool = False,
    ) -> None:
        """Make an ingestor.

        Args:
            sources: what the rows come from.
            rows: the plan of their files, or the table that they are.
            cache: see ``from_sources``.
            use_file_cache: see ``from_sources``.
            file_cache_config: see ``from_sources``.
            again: the rows are read more than once.
        """
        self._sources = list(sources)
        self._rows = rows
        self._cache = cache
        self._use_file_cache = use_file_cache
        self._file_cache_config = file_cache_config
        self._files = FileCache.from_config(file_cache_config) if use_file_cache else None
        self._again = again

    @classmethod
    def from_sources(
        cls,
        sources: Sequence[DataSource],
        *,
        cache: bool | None = None,
        use_file_cache: bool = True,
        file_cache_config: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Resolve the plan of sources.

        Args:
            sources: what the rows come from.
            cache: keep decoded rows in the cache folder, to read them from there the next time. By default
                where a cache folder was given (``MLPOOLS_CACHE``), the rows are read more than once, and
                all of them fit.
            use_file_cache: keep what is fetched from remote places on the local disk.
            file_cache_config: where, and how much; see ``FileCache.from_config``.
            **kwargs: none is known.

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
        return cls(
            sources,
            resolve(files) if files else pa.concat_tables(tables),
            cache=cache,
            use_file_cache=use_file_cache,
            file_cache_config=file_cache_config,
        )

    def for_epochs(self) -> Self:
        """Return the same rows for who reads them more than once."""
        if self._again:
            return self
        return type(self)(
            self._sources,
            self._rows,
            cache=self._cache,
            use_file_cache=self._use_file_cache,
            file_cache_config=self._file_cache_config,
            again=True,
        )

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
        self._rows = count(self._rows, self._files)
        return self._rows.group_rows

    @property
    def gives_memory(self) -> bool:
        """Whether what ``read`` yields is the reader's alone; a table in memory is its maker's, too."""
        return isinstance(self._rows, Plan)

    def random_access(self, rows: int, columns: Sequence[str]) -> bool:
        """Return whether small ranges cost no more than their rows, in any order.

        Args:
            rows: how many will be read.
            columns: which will be read.
        """
        return isinstance(self._rows, pa.Table) or (self._caches(rows, columns) and self._fits(rows, columns))

    def read(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the ranges' rows in order; those of a table in memory without a copy."""
        if isinstance(self._rows, Plan):
            cache = self._cache_for(ranges, columns)
            return reader.read(self._rows, ranges, columns, cache=cache, files=self._files)
        table = self._rows.select(columns)
        if ranges is None:
            return iter([table] if table.num_rows else [])
        return (table.slice(part.start, part.rows) for part in ranges)

    @functools.cached_property
    def _decoded(self) -> DecodedCache:
        return DecodedCache(Shelf(budgets.cache_folder() / "decoded"))

    def _cache_for(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> DecodedCache | None:
        rows = None if ranges is None else sum(part.rows for part in ranges)
        if rows is None and isinstance(self._rows, Plan) and self._rows.counted:
            rows = self._rows.num_rows
        return self._decoded if self._caches(rows, columns) else None

    def _caches(self, rows: int | None, columns: Sequence[str]) -> bool:
        """Decide; rows that are not counted yet may not fit."""
        if self._cache is not None:
            return self._cache
        wanted = self._again and CACHE_ENV in os.environ
        return wanted and rows is not None and self._fits(rows, columns)

    def _fits(self, rows: int, columns: Sequence[str]) -> bool:
        return rows * row_bytes(self.schema, columns) <= self._decoded.shelf.budget
