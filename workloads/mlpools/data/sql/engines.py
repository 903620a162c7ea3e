"""Databases by their URI: how each is entered, and what keeps one snapshot in it.

==========  =====================================  ==========================================
engine      driver                                 one snapshot
==========  =====================================  ==========================================
postgresql  adbc-driver-postgresql                 exported by the first connection, taken by others
sqlite      adbc-driver-sqlite                     one reader in one transaction
duckdb      duckdb's own ADBC entry point          one reader in one transaction
snowflake   adbc-driver-snowflake (an extra)       one statement; its driver reads in parallel itself
==========  =====================================  ==========================================
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlpools.data.sql.address import Address
from mlpools.data.sql.failures import ConnectionLost, translated
from mlpools.data.sql.session import BATCH_ROWS, AdbcSession, DbapiSession, DuckDBSession, Session
from mlpools.errors import DataNotReadable, InvalidSpec, JobError, OutputNotWritable

#: A dead network is noticed within half a minute, instead of within two hours.
_LIBPQ = {
    "application_name": "mlpools",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}
_REPEATABLE = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Database:
    """Somewhere to read from under one snapshot.

    Attributes:
        place: what people may see of its address.
        shares_snapshots: whether several connections can see one snapshot.
    """

    shares_snapshots = False

    def __init__(self, address: Address) -> None:
        self.address = address
        self.place = str(address)

    @contextlib.contextmanager
    def session(self, snapshot: str = "") -> Iterator[Session]:
        """Connect; with a snapshot of ``export``, see what it saw.

        Raises:
            DataNotReadable: there is no way in.
            InvalidSpec: its driver is not installed.
        """
        with contextlib.closing(self._enter(snapshot)) as session:
            yield session

    def export(self, session: Session) -> str:
        """Return a name for what a session sees, for others to see the same; empty if there is none."""
        return ""

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        """Connect to write; what was not committed at the end is undone.

        Returns:
            A connection of ADBC's DBAPI.

        Raises:
            OutputNotWritable: there is no way in.
            InvalidSpec: its driver is not installed.
        """
        try:
            connection = self._reached(write=True)
        except DataNotReadable as error:
            raise OutputNotWritable(str(error)) from error
        with contextlib.closing(connection):
            yield connection

    def _connect(self, *, write: bool) -> Any:
        """Return a connection of the driver."""
        raise NotImplementedError

    def _enter(self, snapshot: str) -> AdbcSession:
        return self._session()

    def _session(self, options: Mapping[str, str] | None = None) -> AdbcSession:
        connection = self._reached(write=False)
        return AdbcSession(connection, self.place, scrub=self.address.scrub, options=options)

    def _reached(self, *, write: bool) -> Any:
        try:
            return self._connect(write=write)
        except JobError:
            raise
        except Exception as error:
            raise translated(error, self.place, self.address.scrub) from error


class PostgreSQL(Database):
    """Rows come by binary COPY, of a server and of what speaks its protocol."""

    shares_snapshots = True

    def _connect(self, *, write: bool) -> Any:
        dbapi = driver("adbc_driver_postgresql.dbapi", "adbc-driver-postgresql")
        return dbapi.connect(self.address.with_defaults(**_LIBPQ))

    def _enter(self, snapshot: str) -> AdbcSession:
        session = self._session()
        try:
            session.run(_REPEATABLE)
            if snapshot:
                session.run(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        except DataNotReadable:
            session.close()
            raise
        return session

    def export(self, session: Session) -> str:
        """Return the name of the session's snapshot; it holds while its transaction lives."""
        assert isinstance(session, AdbcSession)
        try:
            with session.query("SELECT pg_export_snapshot() AS name") as rows:
                (batch,) = rows
        except ConnectionLost:
            raise
        except DataNotReadable:  # it speaks the protocol and has no snapshots: one connection will read
            session.rollback()
            session.run(_REPEATABLE)
            return ""
        # Until the last reader has taken the snapshot, this connection waits inside its transaction.
        session.run("SET idle_in_transaction_session_timeout = 0")
        return str(batch["name"][0])


class SQLite(Database):
    """A file of SQLite, opened for reading only unless something is written."""

    def _connect(self, *, write: bool) -> Any:
        if not write:
            _check_file(self.address.path, "SQLite", 0, b"SQLite format 3")
        dbapi = driver("adbc_driver_sqlite.dbapi", "adbc-driver-sqlite")
        return dbapi.connect(f"file:{_uri_path(self.address.path)}?mode={'rwc' if write else 'ro'}")

    def _enter(self, snapshot: str) -> AdbcSession:
        return self._session({"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})


class DuckDB(Database):
    """A file of DuckDB, opened for reading only unless something is written.

    Through ADBC, whose results stream: DuckDB's own DBAPI cursor first holds all of a result.
    """

    def _connect(self, *, write: bool) -> Any:
        if not write:
            _check_file(self.address.path, "DuckDB", 8, b"DUCK")
        entry = driver("adbc_driver_duckdb", "duckdb")
        dbapi = driver("adbc_driver_manager.dbapi", "adbc-driver-manager")
        options = {"path": self.address.path, "access_mode": "READ_WRITE" if write else "READ_ONLY"}
        return dbapi.connect(driver=entry.driver_path(), entrypoint="duckdb_adbc_init", db_kwargs=options)


class Snowflake(Database):
    """A Snowflake account. Numbers come as int64 and double, not as decimals of 38 digits."""

    def _connect(self, *, write: bool) -> Any:
        dbapi = driver("adbc_driver_snowflake.dbapi", "mlpools[snowflake]")
        options = {
            "adbc.snowflake.sql.client_option.login_timeout": "30s",
            "adbc.snowflake.sql.client_option.use_high_precision": "false",
        }
        return dbapi.connect(self.address.uri.partition("://")[2], db_kwargs=options)


class Given(Database):
    """A connection that the caller made; one query reads it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.place = f"the {type(connection).__module__.partition('.')[0].lstrip('_')} connection"

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        """Refuse: a commit would be one of everything that the caller has done."""
        raise InvalidSpec("To write, give the URI of the database or the folder of its Secret.")
        yield

    @contextlib.contextmanager
    def session(self, snapshot: str = "") -> Iterator[Session]:
        """Return the connection as a session; it stays open."""
        module = type(self._connection).__module__
        if hasattr(self._connection, "adbc_connection"):
            yield AdbcSession(self._connection, self.place, owned=False)
        elif module.partition(".")[0].lstrip("_") == "duckdb":
            yield DuckDBSession(self._connection, self.place)
        elif hasattr(self._connection, "cursor"):
            yield DbapiSession(self._connection, self.place)
        else:
            raise InvalidSpec(
                f"A {module}.{type(self._connection).__name__} is no connection that can be read: give a "
                "URI, or a connection of ADBC, duckdb, sqlite3 or another DBAPI driver."
            )


_ENGINES: Mapping[str, type[Database]] = {
    "postgresql": PostgreSQL,
    "sqlite": SQLite,
    "duckdb": DuckDB,
    "snowflake": Snowflake,
}


def database(connection: Address | str | Any) -> Database:
    """Return the database behind a URI or behind a connection that is open already.

    Raises:
        InvalidSpec: the URI is of no database that can be read.
    """
    if isinstance(connection, str):
        connection = Address(connection)
    if isinstance(connection, Address):
        return _ENGINES[connection.engine](connection)
    return Given(connection)


def driver(module: str, package: str) -> Any:
    """Import a driver.

    Raises:
        InvalidSpec: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidSpec(
            f"The driver for this database is not installed: add the package {package}."
        ) from error


def _check_file(path: str, kind: str, offset: int, magic: bytes) -> None:
    """Look before the driver does: they say little of this, and DuckDB would fetch what reads other files."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(offset + len(magic))
    except OSError as error:
        raise DataNotReadable(
            f"The database {path} cannot be read: {error.strerror}. Check the path and the mount."
        ) from error
    if not head[offset:] == magic:
        raise DataNotReadable(
            f"{path} is no database of {kind}. Check the path, and which database wrote it."
        )


def _uri_path(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
