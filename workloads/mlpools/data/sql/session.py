"""One connection to a database, in one read-only transaction, whose rows come as Arrow batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from mlpools.data.sql.failures import short, translated
from mlpools.errors import DataNotReadable

#: Rows of one batch, where a driver asks for a number.
BATCH_ROWS = 1 << 16


class Rows:
    """What a query gives, taken once and in order. A context manager: it frees the connection.

    Attributes:
        schema: names and types as the driver has them.
    """

    def __init__(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        failure: Callable[[BaseException], Exception],
        close: Callable[[], None],
    ) -> None:
        self.schema = schema
        self._batches, self._failure, self._close = batches, failure, close

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                batch = next(self._batches, None)
            except DataNotReadable:
                raise
            except Exception as error:
                raise self._failure(error) from error
            if batch is None:
                return
            yield batch

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


class Session(Protocol):
    """One connection; of its queries one is open at a time."""

    def query(self, text: str) -> Rows:
        """Run a query.

        Raises:
            DataNotReadable: the database refuses it; also while rows are taken.
        """

    def close(self) -> None:
        """Leave; a connection that somebody else made stays open."""


class AdbcSession:
    """A connection of an ADBC driver."""

    def __init__(
        self,
        connection: Any,
        place: str,
        *,
        scrub: Callable[[str], str] = str,
        options: Mapping[str, str] | None = None,
        owned: bool = True,
    ) -> None:
        self._connection, self._owned = connection, owned
        self._place, self._scrub, self._options = place, scrub, dict(options or {})

    def query(self, text: str) -> Rows:
        """Run a query; see ``Session``."""
        cursor = self._connection.cursor()
        try:
            if self._options:
                cursor.adbc_statement.set_options(**self._options)
            cursor.execute(text)
            reader = cursor.fetch_record_batch()
        except Exception as error:
            cursor.close()
            raise self._failure(error, text) from error
        if not reader.schema.names:
            cursor.close()
            raise no_query(text)

        def close() -> None:
            reader.close()
            cursor.close()

        return Rows(reader.schema, iter(reader), lambda error: self._failure(error, text), close)

    def run(self, statement: str) -> None:
        """Run a statement that has no rows."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement)
            except Exception as error:
                raise self._failure(error, statement) from error

    def rollback(self) -> None:
        """Begin another transaction."""
        self._connection.rollback()

    def close(self) -> None:
        """Leave; of a connection that broke off nothing is left to say."""
        if self._owned:
            with contextlib.suppress(Exception):
                self._connection.close()

    def _failure(self, error: BaseException, text: str) -> DataNotReadable:
        return translated(error, self._place, self._scrub, text)


class DuckDBSession:
    """A connection of ``duckdb`` that the caller made: its own tables and frames are seen."""

    def __init__(self, connection: Any, place: str) -> None:
        self._connection, self._place = connection, place

    def query(self, text: str) -> Rows:
        """Run a query; see ``Session``."""
        try:
            relation = self._connection.sql(text)
            reader = None if relation is None else relation.to_arrow_reader(BATCH_ROWS)
        except Exception as error:
            raise translated(error, self._place, query=text) from error
        if reader is None:
            raise no_query(text)
        return Rows(
            reader.schema, iter(reader), lambda it: translated(it, self._place, query=text), reader.close
        )

    def close(self) -> None:
        """Leave the caller's connection as it is."""


class DbapiSession:
    """Any DBAPI connection that the caller made, such as ``sqlite3``'s.

    Rows are Python values here, so this is the slowest way; types are those of the first 65,536 rows.
    """

    def __init__(self, connection: Any, place: str) -> None:
        self._connection, self._place = connection, place

    def query(self, text: str) -> Rows:
        """Run a query; see ``Session``."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(text)
            names = [column[0] for column in cursor.description or ()]
            first = cursor.fetchmany(BATCH_ROWS) if names else []
        except Exception as error:
            raise translated(error, self._place, query=text) from error
        if not names:
            raise no_query(text)
        fields = [(name, _inferred(name, it)) for name, it in zip(names, _columns(first, names), strict=True)]
        schema = pa.schema(fields)
        batches = _batches(cursor, schema, first)
        return Rows(schema, batches, lambda it: translated(it, self._place, query=text), cursor.close)

    def close(self) -> None:
        """Leave the caller's connection as it is."""


def no_query(text: str) -> DataNotReadable:
    """Return the error of a statement that gives no columns."""
    return DataNotReadable(f"{short(text)!r} gives no rows to read; write a SELECT.")


def _batches(cursor: Any, schema: pa.Schema, rows: Sequence[Any]) -> Iterator[pa.RecordBatch]:
    done = 0
    while rows:
        columns = zip(schema, _columns(rows, schema.names), strict=True)
        arrays = [_array(field, values, done) for field, values in columns]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        done += len(rows)
        rows = cursor.fetchmany(BATCH_ROWS)


def _columns(rows: Sequence[Any], names: Sequence[str]) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * len(names)


def _inferred(name: str, values: Sequence[Any]) -> pa.DataType:
    try:
        return pa.array(values).type
    except (pa.ArrowException, OverflowError) as error:
        raise mixed_types(name, "of several types") from error


def _array(field: pa.Field, values: Sequence[Any], done: int) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        where = f"rows {done + 1:,} to {done + len(values):,}"
        raise mixed_types(field.name, f"{field.type} at first and something else in {where}") from error


def mixed_types(name: str, told: str) -> DataNotReadable:
    """Return the error of a column that has no one type."""
    return DataNotReadable(
        f"Column {name!r} is {told}; write CAST({name} AS …) in the query, so that all rows have one type. "
        "A column that begins with nothing but NULL needs ORDER BY, so that a value comes early."
    )
