"""Rows into tables: of a database by bulk ingest, of a Delta lake by a commit. All appear, or none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from mlpools.data import frames
from mlpools.data.lakes.delta import store_options
from mlpools.data.sql.address import Address, from_folder
from mlpools.data.sql.engines import Database, database
from mlpools.data.sql.failures import sentence
from mlpools.errors import InvalidSpec, OutputExists, OutputNotWritable, one_line
from mlpools.storage import Location, locate

Mode = Literal["create", "append", "replace"]
#: What deltalake calls them; appending makes a table where there is none.
_DELTA_MODES: Mapping[Mode, str] = {"create": "error", "append": "append", "replace": "overwrite"}


class Stream:
    """Rows on their way into a driver, which remembers why they ended.

    A driver may take rows that break off for rows that have ended, and then commit a part (DuckDB's does).

    Attributes:
        schema: of the rows.
        rows: that have passed.
    """

    def __init__(self, given: Any) -> None:
        """Take a connector, a frame of any library, or record batches.

        Raises:
            InvalidSpec: there is nothing whose columns could be known.
        """
        self.rows = 0
        self._failure: BaseException | None = None
        self.schema, self._batches = _batches(given)

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows as drivers take them."""
        return pa.RecordBatchReader.from_batches(self.schema, self._watched())

    def check(self) -> None:
        """Raise what the rows broke off with, if they did."""
        if self._failure is not None:
            raise self._failure

    def _watched(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                yield batch
        except BaseException as error:
            self._failure = error
            raise


def write_sql(
    rows: Any, connection: Address | str | Path, table: str, *, mode: Mode = "append", schema: str = ""
) -> int:
    """Write rows into a table of a database, in one transaction.

    Args:
        rows: a connector, a frame, or record batches, which are streamed.
        connection: URI of the database, or folder of a mounted Secret.
        table: its name.
        mode: ``create`` a table that is not there; ``append`` to one that is; ``replace`` it if it is there.
        schema: of the database, where the table lies; its default without.

    Returns:
        How many rows were written.

    Raises:
        OutputExists: ``create``, and the table is there.
        OutputNotWritable: the database refuses; nothing was written.
    """
    target = database(from_folder(connection) if isinstance(connection, Path) else connection)
    stream = Stream(rows)
    with target.writing() as opened:
        ingest(opened, stream, target, table, mode, schema)
        _told(target, table, opened.commit)
    return stream.rows


def ingest(opened: Any, stream: Stream, target: Database, table: str, mode: Mode, schema: str) -> None:
    """Write rows within the transaction of an open connection."""

    def run() -> None:
        with opened.cursor() as cursor:
            cursor.adbc_ingest(table, stream.reader(), mode=mode, db_schema_name=schema or None)

    try:
        _told(target, table, run)
    except OutputNotWritable:
        stream.check()
        raise
    stream.check()


def write_delta(
    rows: Any,
    url: str,
    *,
    mode: Mode = "append",
    partition_by: Sequence[str] = (),
    application: str = "",
    version: int = 0,
) -> int:
    """Write rows into a Delta table, by one commit.

    Args:
        rows: a connector, a frame, or record batches, which are streamed.
        url: of the table's folder.
        mode: ``create`` a table that is not there; ``append``, making the table where there is none;
            ``replace`` all of its rows.
        partition_by: columns of a new table.
        application: a name that makes writing exactly once: rows of a ``version`` that this application has
            written already are not written again, whatever was retried.
        version: of the application's own, rising.

    Returns:
        How many rows were written; 0 if this version of the application was there already.

    Raises:
        OutputExists: ``create``, and the table is there.
        OutputNotWritable: the table refuses; no row is visible.
    """
    from deltalake import CommitProperties, Transaction, write_deltalake
    from deltalake.exceptions import DeltaError

    root = locate(url)
    if application and _written(root, application) >= version:
        return 0
    stream = Stream(rows)
    marks = [Transaction(app_id=application, version=version)] if application else None
    try:
        write_deltalake(
            root.url,
            stream.reader(),
            mode=_DELTA_MODES[mode],
            partition_by=list(partition_by) or None,
            storage_options=store_options(root),
            commit_properties=CommitProperties(app_transactions=marks),
        )
    except (DeltaError, OSError, ValueError) as error:
        stream.check()
        if application and _written(root, application) >= version:
            return 0  # another writer of the same version was faster
        if mode == "create" and _is_table(root):
            raise OutputExists(f"{root} is a Delta table already. Use the mode append or replace.") from error
        raise OutputNotWritable(
            f"The Delta table {root} cannot be written: {one_line(error)}. Do the columns fit, and may this "
            "user write there?"
        ) from error
    stream.check()
    return stream.rows


def _batches(given: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    if isinstance(given, Iterator):
        first = next(given, None)
        if first is None:
            raise InvalidSpec("There is not one batch to write, so nothing tells the columns.")
        return first.schema, itertools.chain([first], given)
    if not hasattr(given, "to_batches") or not hasattr(given, "schema"):  # a connector and a table have both
        given = frames.to_table(given)
    return given.schema.remove_metadata(), iter(given.to_batches())


def _told(target: Database, table: str, run: Callable[[], None]) -> None:
    """Run a step of writing; what goes wrong is one sentence."""
    try:
        run()
    except Exception as error:
        if "ALREADY_EXISTS: " in str(error) and "already exists" in str(error):
            raise OutputExists(
                f"The table {table} of {target.place} is there already. Use the mode append or replace."
            ) from error
        what = f"The table {table} of {target.place} cannot be written"
        raise OutputNotWritable(sentence(what, target.address.scrub(str(error)))) from error


def _written(root: Location, application: str) -> int:
    """Return the last version of an application that a table has; -1 without one."""
    if not _is_table(root):
        return -1
    from deltalake import DeltaTable

    version = DeltaTable(root.url, storage_options=store_options(root)).transaction_version(application)
    return -1 if version is None else int(version)


def _is_table(root: Location) -> bool:
    from deltalake import DeltaTable

    return bool(DeltaTable.is_deltatable(root.url, storage_options=store_options(root)))
