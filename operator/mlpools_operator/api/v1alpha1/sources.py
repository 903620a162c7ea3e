"""Data sources of a job: where its rows come from, and which of them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import ColumnName, DataURL, ObjectName
from mlpools_operator.api.v1alpha1.meta import Model, Rule, exactly_one

_Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class FileSource(Model):
    """Files of one format."""

    url: DataURL | None = None
    """A file, a folder (every file of the format below it), or a pattern with *, ? and ** (which crosses
    folders). Either this or urls."""
    urls: Annotated[tuple[DataURL, ...], Field(min_length=1, max_length=100)] | None = None
    """Several of them. Either this or url."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(("url", "urls"), "Give either url (one place, which may hold *) or urls (a list)."),
    )

    @property
    def places(self) -> tuple[str, ...]:
        """All places, whichever of the two fields names them."""
        return self.urls if self.urls is not None else (self.url or "",)


class ParquetSource(FileSource):
    """Parquet files. Their row groups are dealt out to the nodes, so each file should have several."""


class SqlSource(Model):
    """The result of a query, read once under one snapshot of the database."""

    connection_secret: ObjectName
    """Secret in the job's namespace with the database's uri, or with its host, port, user, password and
    database."""
    query: Annotated[str, StringConstraints(min_length=1, max_length=16_384)]
    """One SELECT statement."""
    partition_on: ColumnName | None = None
    """Column of numbers or times by whose ranges the query is read in parallel. Absent: one connection
    reads all of it."""


class DatasetSource(Model):
    """A version of a named data set: without columns, its features and labels."""

    root: DataURL
    """The folder of all data sets, as mlpools.data.Dataset was given it."""
    name: _Word
    """Name of the data set."""
    version: _Word
    """Its version, which never changes."""


#: The kinds of sources, of which a data set has exactly one.
SOURCES = ("parquet", "sql", "dataset")


class DataSource(Model):
    """Where rows come from, and which of them."""

    parquet: ParquetSource | None = None
    """Parquet files."""
    sql: SqlSource | None = None
    """The result of a query."""
    dataset: DatasetSource | None = None
    """A version of a data set that was made with mlpools.data.Dataset."""
    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=4096)] | None = None
    """Columns to read. The others stay where they are, and nothing of them is read. Absent: all."""
    filter: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None
    """Which rows count, as in the WHERE of a query: distance > 500 AND carrier IN ('AA', 'UA'). What the
    files' statistics rule out is not read."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Only so many rows, the first ones of those that count."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(SOURCES, f"Say what kind of source it is: exactly one of {', '.join(SOURCES)}."),
    )
