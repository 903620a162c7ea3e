"""Queries on a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import datetime
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlpools.data import DataConnector
from mlpools.data.parts import plan_parts
from mlpools.data.plan import Selection
from mlpools.data.reader import read
from mlpools.data.sql import staging
from mlpools.data.sql.engines import Database, PostgreSQL, database
from mlpools.data.sql.query import Query
from mlpools.data.sql.session import AdbcSession, Session
from mlpools.data.sql.staging import Reading, stage
from mlpools.data.writers.manifest import Manifest
from mlpools.data.writers.tables import write_sql
from mlpools.errors import DataNotReadable, OutputExists, OutputNotWritable
from mlpools.storage import Location, locate
from tests.support.postgres import PASSWORD, Postgres

pytestmark = pytest.mark.full

_ROWS = 20_000
_QUERY = Query("SELECT id FROM numbers", "id")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def numbers(postgres: Postgres) -> None:
    """A table of ``id`` 1 … 20,000, and two rows without one."""
    postgres.execute(
        "DROP TABLE IF EXISTS numbers",
        f"CREATE TABLE numbers AS SELECT id::int FROM generate_series(1, {_ROWS}) id",
        "INSERT INTO numbers VALUES (NULL), (NULL)",
    )


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "PAUSES", (0, 0, 0))


def _ids(folder: Location, manifest: Manifest) -> list[int | None]:
    plan = plan_parts(folder, manifest.parts, "the rows", Selection())
    tables = list(read(plan, None, ["id"]))
    ids: list[int | None] = pa.concat_tables(tables)["id"].to_pylist()
    return ids


def _expected() -> list[int | None]:
    return [*range(1, _ROWS + 1), None, None]


def _in_order(ids: list[int | None]) -> list[int | None]:
    return sorted(ids, key=lambda value: (value is None, value))


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("partition_on", ["", "id"])
def test_all_rows_come_once(postgres: Postgres, tmp_path: Path, partition_on: str) -> None:
    query = Query("SELECT id FROM numbers -- all of them", partition_on)
    folder, manifest = stage(database(postgres.uri()), query, locate(tmp_path))
    assert _in_order(_ids(folder, manifest)) == _expected()
    assert len(manifest.parts) == (staging.PARTITIONS if partition_on else 1)
    text = Path(folder.url, "_manifest.json").read_text()
    assert PASSWORD not in text


class _Unshared(PostgreSQL):
    """The same server, read without taking the snapshot."""

    def _enter(self, snapshot: str) -> AdbcSession:
        return super()._enter("")


def _read_while_somebody_writes(postgres: Postgres, source: Database, folder: Path) -> list[int | None]:
    """Read by two ranks; between them rows vanish, move and appear, and so while each of them reads."""
    first = Reading(source, _QUERY, locate(folder))
    second = Reading(source, _QUERY, locate(folder))
    with source.session() as holder:
        order = first.order(holder)
        partitions = len(order.conditions)
        done = first.read(order, range(0, partitions, 2))
        postgres.execute(
            "DELETE FROM numbers WHERE id % 3 = 0",
            f"UPDATE numbers SET id = {_ROWS} - id WHERE id % 3 = 1",
            f"INSERT INTO numbers SELECT id FROM generate_series(1, {_ROWS}) id",
            "VACUUM numbers",
        )
        done += second.read(order, range(1, partitions, 2))
    return _ids(locate(folder), first.finish(order, done))


@pytest.mark.usefixtures("numbers")
def test_all_connections_see_one_snapshot_while_somebody_writes(postgres: Postgres, tmp_path: Path) -> None:
    source = database(postgres.uri())
    assert _in_order(_read_while_somebody_writes(postgres, source, tmp_path)) == _expected()


@pytest.mark.usefixtures("numbers")
def test_without_the_snapshot_they_would_not(postgres: Postgres, tmp_path: Path) -> None:
    source = _Unshared(database(postgres.uri()).address)
    assert _in_order(_read_while_somebody_writes(postgres, source, tmp_path)) != _expected()


@pytest.mark.usefixtures("numbers")
def test_a_server_without_snapshots_is_read_by_one_connection(postgres: Postgres, tmp_path: Path) -> None:
    postgres.execute(
        "CREATE SCHEMA IF NOT EXISTS old",
        "CREATE OR REPLACE FUNCTION old.pg_export_snapshot() RETURNS text LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'function pg_export_snapshot() does not exist'; END $$",
    )
    uri = postgres.uri(options="-csearch_path=old,pg_catalog,public")
    folder, manifest = stage(database(uri), _QUERY, locate(tmp_path))
    assert _in_order(_ids(folder, manifest)) == _expected()
    assert len(manifest.parts) == 1


class _Severed(PostgreSQL):
    """Ends the connections of its readers in the middle of their rows, so many of them."""

    def __init__(self, postgres: Postgres, times: int) -> None:
        super().__init__(database(postgres.uri()).address)
        self._postgres = postgres
        self.times = times
        self.entered = 0

    @contextlib.contextmanager
    def session(self, snapshot: str = "") -> Iterator[Session]:
        with super().session(snapshot) as session:
            self.entered += bool(snapshot)
            if snapshot and self.times:
                self.times -= 1
                with session.query("SELECT pg_backend_pid() AS pid") as rows:
                    ((pid,),) = ([value.as_py() for value in batch["pid"]] for batch in rows)
                yield _SeveredSession(
                    session, lambda: self._postgres.execute(f"SELECT pg_terminate_backend({pid})")
                )
            else:
                yield session


class _SeveredSession:
    def __init__(self, session: Session, sever: Callable[[], object]) -> None:
        self._session, self._sever = session, sever

    def query(self, text: str) -> Any:
        rows = self._session.query(text)
        batches = rows._batches

        def severed() -> Iterator[pa.RecordBatch]:
            yield next(batches)
            self._sever()
            yield from batches

        rows._batches = severed()
        return rows

    def close(self) -> None:
        self._session.close()


def test_a_connection_that_breaks_costs_its_own_partition(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "PARTITIONS", 2)
    monkeypatch.setattr(staging, "READERS", 1)
    # Larger than what sockets and one batch of the driver hold.
    query = Query("SELECT id, repeat('x', 1000) AS s FROM generate_series(1, 120000) id", "id")
    source = _Severed(postgres, times=2)
    folder, manifest = stage(source, query, locate(tmp_path))
    assert _ids(folder, manifest) == list(range(1, 120001))
    assert source.entered == 4


def test_a_server_that_crashes_costs_everything_that_was_read(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "PAUSES", (0.1,) * 100)
    crashes = []

    def crash_once() -> None:
        if not crashes:
            crashes.append(True)
            postgres.stop(signal.SIGQUIT)
            postgres.start()

    query = Query("SELECT id, repeat('x', 1000) AS s FROM generate_series(1, 120000) id")
    folder, manifest = stage(database(postgres.uri()), query, locate(tmp_path), alive=crash_once)
    assert crashes
    assert _ids(folder, manifest) == list(range(1, 120001))


_TYPES: dict[str, tuple[str, pa.DataType, Any]] = {
    "boolean": ("true", pa.bool_(), True),
    "smallint": ("1::int2", pa.int16(), 1),
    "integer": ("1::int4", pa.int32(), 1),
    "bigint": ("1::int8", pa.int64(), 1),
    "real": ("1.5::float4", pa.float32(), 1.5),
    "double": ("1.5::float8", pa.float64(), 1.5),
    "numeric(12,2)": ("12.30::numeric(12,2)", pa.decimal128(12, 2), Decimal("12.30")),
    "numeric": ("12.5::numeric", pa.float64(), 12.5),
    "sum": ("(SELECT sum(x) FROM (VALUES (1.25::numeric(5,2)), (2)) t(x))", pa.float64(), 3.25),
    "infinite numeric": ("'Infinity'::numeric", pa.float64(), float("inf")),
    "text": ("'é'::text", pa.string(), "é"),
    "varchar": ("'a'::varchar(3)", pa.string(), "a"),
    "char": ("'a'::char(3)", pa.string(), "a  "),
    "bytea": (r"'\xdead'::bytea", pa.binary(), b"\xde\xad"),
    "date": ("'2020-01-02'::date", pa.date32(), datetime.date(2020, 1, 2)),
    "time": ("'10:11:12'::time", pa.time64("us"), datetime.time(10, 11, 12)),
    "timestamp": (
        "'2020-01-02 03:04:05.123456'::timestamp",
        pa.timestamp("us"),
        datetime.datetime(2020, 1, 2, 3, 4, 5, 123456),
    ),
    "timestamptz": (
        "'2020-01-02 03:04:05+02'::timestamptz",
        pa.timestamp("us", "UTC"),
        datetime.datetime(2020, 1, 2, 1, 4, 5, tzinfo=datetime.UTC),
    ),
    "json": ("""'{"a":1}'::json""", pa.string(), '{"a":1}'),
    "jsonb": ("""'{"a":1}'::jsonb""", pa.string(), '{"a": 1}'),
    "uuid": (
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
        pa.string(),
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    "enum": ("'sad'::mood", pa.string(), "sad"),
    "integer[]": ("array[1, NULL, 3]", pa.list_(pa.int32()), [1, None, 3]),
    "numeric[]": ("array[1.5, 2.5]::numeric(5,2)[]", pa.list_(pa.float64()), [1.5, 2.5]),
    "text[]": ("array['x']", pa.list_(pa.string()), ["x"]),
    "empty": ("NULL::int", pa.int32(), None),
    "composite": (
        "row(1, 2.5)::pair",
        pa.struct([("x", pa.int32()), ("y", pa.float64())]),
        {"x": 1, "y": 2.5},
    ),
}


def test_what_each_type_becomes(postgres: Postgres) -> None:
    postgres.execute(
        "DROP TYPE IF EXISTS mood",
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "DROP TYPE IF EXISTS pair",
        "CREATE TYPE pair AS (x int, y float8)",
    )
    columns = ", ".join(f'{expression} AS "{name}"' for name, (expression, _, _) in _TYPES.items())
    table = DataConnector.from_sql(f"SELECT {columns}", postgres.uri()).to_arrow()
    (row,) = table.to_pylist()
    assert {name: str(table.schema.field(name).type) for name in row} == {
        name: str(kind).replace("item:", "element:") for name, (_, kind, _) in _TYPES.items()
    }
    assert row == {name: value for name, (_, _, value) in _TYPES.items()}


@pytest.mark.parametrize(
    ("expression", "cast"),
    [
        ("'1.23'::money", "numeric"),
        ("1::oid", "bigint"),
        ("'1 day'::interval", "EXTRACT"),
        ("'1.2.3.4'::inet", "text"),
        ("'(1,2)'::point", "text"),
        ("'10:11:12+02'::timetz", "text"),
        ("int4range(1, 3)", "text"),
        ("'<a/>'::xml", "text"),
        ("'infinity'::date", "NULLIF"),
        ("'-infinity'::timestamptz", "NULLIF"),
        ("'NaN'::numeric(5,2)", "double precision"),
    ],
)
def test_a_type_without_a_form_is_refused_with_the_cast_that_helps(
    postgres: Postgres, expression: str, cast: str
) -> None:
    with pytest.raises(DataNotReadable, match=cast) as refused:
        DataConnector.from_sql(f"SELECT {expression} AS x", postgres.uri())
    assert "'x'" in str(refused.value)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT nosuch FROM pg_class", r"column \"nosuch\" does not exist\. Check the names"),
        ("SELECT 1 FROM nosuch", r"relation \"nosuch\" does not exist\. Check the table"),
        ("SELEC 1", r"syntax error at or near \"SELEC\"\. Correct"),
        ("SELECT 1; SELECT 2", "Write one SELECT"),
        ("CREATE TABLE x (a int)", "read-only transaction.*write a SELECT"),
        ("DELETE FROM pg_class RETURNING 1", "write a SELECT"),
        ("SET work_mem = '64kB'", "write a SELECT"),
        ("SELECT 1 / (i - 5000) FROM generate_series(1, 10000) i", "division by zero"),
        ("SELECT 1 AS a WHERE false", "gave no rows"),
    ],
)
def test_a_query_that_fails_is_told_in_the_servers_words(postgres: Postgres, query: str, words: str) -> None:
    with pytest.raises(DataNotReadable, match=words) as failure:
        DataConnector.from_sql(query, postgres.uri())
    assert "\n" not in str(failure.value)
    assert PASSWORD not in str(failure.value)
    assert query[:10] in str(failure.value)


def _ways_not_in(postgres: Postgres) -> dict[str, str]:
    unreachable = postgres.uri().replace(f":{postgres.port}/", ":1/")
    return {
        "password authentication failed": postgres.uri(password="wr0ng:pässword"),
        'database "nosuch" does not exist. Check the database\'s name': postgres.uri(database="nosuch"),
        "Connection refused. Check host and port": unreachable,
        "Check the name of the host": postgres.uri().replace("127.0.0.1", "nosuch.invalid"),
        "Check sslmode and sslrootcert": postgres.uri(sslmode="verify-full", sslrootcert=str(postgres.ca)),
    }


def test_who_does_not_get_in_is_told_why_and_shows_no_password(postgres: Postgres) -> None:
    for words, uri in _ways_not_in(postgres).items():
        with pytest.raises(DataNotReadable) as failure:
            DataConnector.from_sql("SELECT 1", uri)
        assert words in str(failure.value)
        for secret in (PASSWORD, "wr0ng", "pässword"):
            assert secret not in str(failure.value)


def test_a_secret_with_an_authority_gets_in_by_tls(postgres: Postgres, tmp_path: Path) -> None:
    (tmp_path / "uri").write_text(postgres.uri().replace("127.0.0.1", "localhost"))
    (tmp_path / "ca.crt").write_text(postgres.ca.read_text())
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert DataConnector.from_sql(query, tmp_path).to_arrow()["ssl"].to_pylist() == [True]


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("nosuch", "no column 'nosuch'.*id, word"),
        ("word", "cannot be partitioned on"),
        ("id", "NaN or infinity"),
    ],
)
def test_a_column_that_cannot_be_cut(postgres: Postgres, column: str, words: str) -> None:
    query = "SELECT 'NaN'::float8 AS id, 'a' AS word FROM numbers"
    with pytest.raises(DataNotReadable, match=words):
        DataConnector.from_sql(query, postgres.uri(), partition_on=column)


_SCORES = pa.table({"a": [1, 2], "s": ["x", None], "at": pa.array([0, 1], pa.timestamp("us", "UTC"))})


def _scores(postgres: Postgres) -> list[dict[str, Any]]:
    table = DataConnector.from_sql("SELECT * FROM scores ORDER BY a", postgres.uri()).to_arrow()
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_a_table_is_written_whole_or_not_at_all(postgres: Postgres) -> None:
    postgres.execute("DROP TABLE IF EXISTS scores")
    assert write_sql(_SCORES, postgres.uri(), "scores", mode="create") == 2
    assert _scores(postgres) == _SCORES.to_pylist()

    def breaking() -> Iterator[pa.RecordBatch]:
        yield from _SCORES.to_batches()
        raise OSError("the rows broke off")

    for mode in ("append", "replace"):
        with pytest.raises(OSError, match="broke off"):
            write_sql(breaking(), postgres.uri(), "scores", mode=mode)  # type: ignore[arg-type]
        assert _scores(postgres) == _SCORES.to_pylist()
    write_sql(_SCORES, postgres.uri(), "scores")
    assert len(_scores(postgres)) == 4
    write_sql(_SCORES, postgres.uri(), "scores", mode="replace")
    assert _scores(postgres) == _SCORES.to_pylist()


def test_what_cannot_be_written_is_told_in_the_servers_words(postgres: Postgres) -> None:
    with pytest.raises(OutputNotWritable, match=r"The table t of .*schema \"nosuch\" does not exist"):
        write_sql(_SCORES, postgres.uri(), "t", mode="create", schema="nosuch")
    with pytest.raises(OutputNotWritable, match=r"relation .*nosuch.* does not exist"):
        write_sql(_SCORES, postgres.uri(), "nosuch")
    with pytest.raises(OutputNotWritable, match="password authentication failed") as failure:
        write_sql(_SCORES, postgres.uri(password="wr0ng"), "t")
    assert "wr0ng" not in str(failure.value)
    write_sql(_SCORES, postgres.uri(), "taken", mode="create")
    with pytest.raises(OutputExists, match=r"The table taken of .* is there already"):
        write_sql(_SCORES, postgres.uri(), "taken", mode="create")


def test_reading_takes_bounded_memory(postgres: Postgres, tmp_path: Path) -> None:
    """A result of 600 MB; parts and batches of several readers are far less."""
    code = (
        "import resource, sys\n"
        "from mlpools.data import DataConnector\n"
        "query = \"SELECT id, md5(id::text) || repeat('x', 968) AS s FROM generate_series(1, 600000) id\"\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "connector = DataConnector.from_sql(query, sys.argv[1], stage=sys.argv[2])\n"
        "print(connector.num_rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    command = [sys.executable, "-c", code, postgres.uri(), str(tmp_path)]
    done = subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True)
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 600_000
    assert megabytes < 400
