"""Data sources of a job: where its rows come from, and which of them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import ColumnName, DataURL, ObjectName, WrittenTime
from mlpools_operator.api.v1alpha1.meta import Model, Rule, at_most_one, camel, exactly_one

_Sign = Annotated[str, StringConstraints(min_length=1, max_length=1)]
_SignOrNone = Annotated[str, StringConstraints(max_length=1)]
_Texts = Annotated[tuple[Annotated[str, StringConstraints(max_length=256)], ...], Field(max_length=64)]
_Types = Annotated[dict[str, Annotated[str, StringConstraints(max_length=64)]], Field(max_length=4096)]
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


class ParquetOptions(Model):
    """How Parquet files are read."""

    page_checksums: bool | None = None
    """Whether each page is compared with its checksum, where its writer left one. Absent: no."""


class ParquetSource(FileSource):
    """Parquet files. Their row groups are dealt out to the nodes, so each file should have several."""

    options: ParquetOptions | None = None
    """How they are read."""


class CsvOptions(Model):
    """How CSV files are read."""

    delimiter: _Sign | None = None
    """Between two cells. Absent: a comma."""
    quote: _SignOrNone | None = None
    """Round a cell that holds a delimiter; empty if there is none. Absent: double quotes."""
    escape: _SignOrNone | None = None
    """Before a quote inside a quoted cell. Absent: a quote is written twice there."""
    header: bool | None = None
    """Whether the first line names the columns. Absent: yes."""
    column_names: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=4096)] | None = None
    """Names of the columns, of files without a header or instead of theirs."""
    skip_lines: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Lines before the header, or before the first row, that are no data. Absent: 0."""
    null_values: _Texts | None = None
    """What stands for no value, in columns of text too. Absent: an empty cell, NA, NULL, NaN and the like,
    except in columns of text."""
    types: _Types | None = None
    """Types of columns by name: int64, float32, string, date32, timestamp[us] and so on. The others are
    guessed from the first MiB of each file."""
    timestamp_formats: _Texts | None = None
    """How timestamps are written, as for strptime, besides ISO 8601."""
    decimal_point: _Sign | None = None
    """Of numbers. Absent: a point."""
    encoding: _Word | None = None
    """Of the text. Absent: utf8."""
    newlines_in_values: bool | None = None
    """true if a quoted cell may hold a line break: then a file is not cut. false promises that none does.
    Absent: files are cut, and a quoted cell across a cut is an error."""


class CsvSource(FileSource):
    """CSV files, compressed ones too. Uncompressed ones are cut at line borders."""

    options: CsvOptions | None = None
    """How they are written."""


class JsonOptions(Model):
    """How JSON files are read."""

    types: _Types | None = None
    """Types of columns by name: int64, float32, string, timestamp[us] and so on. The others are guessed from
    the first MiB of each file."""
    newlines_in_values: bool | None = None
    """Whether an object may go over several lines: then a file is not cut. Absent: no."""


class JsonSource(FileSource):
    """JSON files with one object a line, compressed ones too. Uncompressed ones are cut at line borders."""

    options: JsonOptions | None = None
    """How they are written."""


class ArrowSource(FileSource):
    """Arrow files and streams, also known as Feather; their record batches are dealt out."""


class OrcSource(FileSource):
    """ORC files; their stripes are dealt out."""


class DeltaSource(Model):
    """A Delta table, as it is when the job starts or as it was."""

    url: DataURL
    """The table's folder."""
    version: Annotated[int, Field(ge=0)] | None = None
    """A version of the table. Absent: the newest."""
    timestamp: WrittenTime | None = None
    """A moment: the newest version of then."""

    rules: ClassVar[tuple[Rule, ...]] = (
        at_most_one(("version", "timestamp"), "version and timestamp name two versions: give one of them."),
    )


class IcebergSource(Model):
    """A table of an Iceberg catalog."""

    catalog: _Word
    """Name of the catalog, whose address and credentials the job's environment tells, as in
    PYICEBERG_CATALOG__<NAME>__URI."""
    table: _Word
    """The table with its namespace, such as flights.arrivals."""
    snapshot: Annotated[int, Field(ge=0)] | None = None
    """A snapshot of the table. Absent: the newest."""


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
SOURCES = ("parquet", "csv", "json_", "arrow", "orc", "delta", "iceberg", "sql", "dataset")


class DataSource(Model):
    """Where rows come from, and which of them."""

    parquet: ParquetSource | None = None
    """Parquet files."""
    csv: CsvSource | None = None
    """CSV files."""
    json_: JsonSource | None = None
    """JSON files with one object a line."""
    arrow: ArrowSource | None = None
    """Arrow or Feather files."""
    orc: OrcSource | None = None
    """ORC files."""
    delta: DeltaSource | None = None
    """A Delta table."""
    iceberg: IcebergSource | None = None
    """An Iceberg table."""
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
        exactly_one(
            SOURCES, f"Say what kind of source it is: exactly one of {', '.join(map(camel, SOURCES))}."
        ),
    )
