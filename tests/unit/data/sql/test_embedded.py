"""SQLite and DuckDB as they are, by URI and by connections that the caller opened."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi
import duckdb
import pyarrow as pa
import pytest

from mlpools.data import DataConnector
from mlpools.data.plan import resolve
from mlpools.data.progress import reported_to
from mlpools.data.sources import from_spec
from mlpools.data.sql.session import BATCH_ROWS
from mlpools.data.sql.source import SqlSource
from mlpools.errors import DataNotReadable, InvalidSpec, SecretMissing
from tests.support.object_store import ObjectStore

_ROWS = 3000


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    path = tmp_path / "a #1%.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, x REAL, s TEXT, b BLOB)")
        rows = ((i, i / 2, f"s{i}" if i % 3 else None, bytes([i % 256])) for i in range(_ROWS))
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return path


@pytest.fixture
def duckdb_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT range AS id, range / 2 AS x FROM range({_ROWS})")
    return path


@pytest.fixture
def uri(request: pytest.FixtureRequest) -> str:
    kind = request.param
    path = request.getfixturevalue(f"{kind}_file")
    return f"{kind}://{str(path).replace('#', '%23').replace('1%.', '1%25.')}"


_BOTH = pytest.mark.parametrize("uri", ["sqlite", "duckdb"], indirect=True)


@_BOTH
def test_rows_of_a_file(uri: str) -> None:
    connector = DataConnector.from_sql("SELECT id, x FROM t -- all of it", uri)
    assert connector.num_rows == _ROWS
    table = connector.to_arrow()
    assert table["id"].to_pylist() == list(range(_ROWS))
    assert table.schema.types == [pa.int64(), pa.float64()]
    assert pickle.loads(pickle.dumps(connector)).to_arrow() == table


def test_types_of_sqlite(sqlite_file: Path) -> None:
    address = str(sqlite_file).replace("%", "%25").replace("#", "%23")
    table = DataConnector.from_sql("SELECT * FROM t", f"sqlite://{address}").to_arrow(4)
    assert table.to_pylist()[:2] == [
        {"id": 0, "x": 0.0, "s": None, "b": b"\0"},
        {"id": 1, "x": 0.5, "s": "s1", "b": b"\1"},
    ]


@_BOTH
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT id FROM nosuch", r"'SELECT id FROM nosuch' on \w+:///.* failed: .*nosuch.* table's name"),
        ("SELECT nosuch FROM t", "nosuch.*names of the columns"),
        ("SELEC 1", r"syntax error.*Correct the query\."),
        ("DELETE FROM t", "write a SELECT"),
        ("CREATE TABLE u (a INTEGER)", "write a SELECT"),
        ("SELECT id FROM t WHERE id < 0", "gave no rows"),
        ("SELECT id, id FROM t", "two columns 'id'"),
    ],
)
def test_what_goes_wrong_is_one_sentence(uri: str, query: str, words: str) -> None:
    with pytest.raises(DataNotReadable, match=words) as failure:
        DataConnector.from_sql(query, uri)
    assert "\n" not in str(failure.value)


@_BOTH
def test_one_reader_has_no_partitions(uri: str) -> None:
    with pytest.raises(InvalidSpec, match=r"Leave partitionOn out\."):
        DataConnector.from_sql("SELECT id FROM t", uri, partition_on="id")


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_file_that_is_no_database(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello, this is no database")
    with pytest.raises(DataNotReadable, match="is no database of"):
        DataConnector.from_sql("SELECT 1", f"{scheme}://{tmp_path}/x")
    with pytest.raises(DataNotReadable, match=r"No such file.*mount\."):
        DataConnector.from_sql("SELECT 1", f"{scheme}://{tmp_path}/y")


def test_a_column_of_sqlite_that_changes_its_type(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "m.db")
    connection.execute("CREATE TABLE m (v)")
    connection.executemany("INSERT INTO m VALUES (?)", ((1,) for _ in range(BATCH_ROWS)))
    connection.execute("INSERT INTO m VALUES ('late')")
    connection.commit()
    with pytest.raises(DataNotReadable, match=r"'v' is int64 at first.*65,537.*CAST\(v AS …\)"):
        DataConnector.from_sql("SELECT v FROM m", connection)
    connection.close()
    with pytest.raises(DataNotReadable, match=r"Type mismatch.*CAST"):
        DataConnector.from_sql("SELECT v FROM m", f"sqlite://{tmp_path}/m.db")


def _given(kind: str, sqlite_file: Path, duckdb_file: Path) -> Any:
    if kind == "adbc":
        return adbc_driver_sqlite.dbapi.connect(str(sqlite_file))
    return sqlite3.connect(sqlite_file) if kind == "sqlite3" else duckdb.connect(duckdb_file)


@pytest.mark.parametrize("kind", ["adbc", "sqlite3", "duckdb"])
def test_a_connection_that_the_caller_opened(kind: str, sqlite_file: Path, duckdb_file: Path) -> None:
    connection = _given(kind, sqlite_file, duckdb_file)
    connector = DataConnector.from_sql("SELECT id, x FROM t WHERE id < 10", connection)
    assert connector.to_arrow()["id"].to_pylist() == list(range(10))
    for wrong in ("SELECT nosuch FROM t", "CREATE TEMP TABLE u (a INTEGER)"):
        with pytest.raises(DataNotReadable):
            DataConnector.from_sql(wrong, connection)
    cursor = connection.cursor()
    cursor.execute("SELECT 1")  # it is still open
    assert cursor.fetchone() == (1,)
    cursor.close()
    connection.close()


def test_a_frame_that_duckdb_knows() -> None:
    with duckdb.connect() as connection:
        connection.register("frame", pa.table({"a": [1, 2]}))
        assert DataConnector.from_sql("SELECT a * 2 AS b FROM frame", connection).to_arrow()[
            "b"
        ].to_pylist() == [2, 4]


def test_what_is_no_connection() -> None:
    with pytest.raises(InvalidSpec, match="is no connection that can be read"):
        DataConnector.from_sql("SELECT 1", object())


def test_an_open_connection_does_not_travel() -> None:
    with sqlite3.connect(":memory:") as connection:
        source = pickle.loads(pickle.dumps(SqlSource("SELECT 1 AS a", connection)))
    connection.close()
    with pytest.raises(InvalidSpec, match="does not travel"):
        source.plan()


@_BOTH
def test_each_reading_outside_of_a_job_sees_new_rows(uri: str) -> None:
    first = DataConnector.from_sql("SELECT count(*) AS n FROM t", uri).to_arrow()
    path = uri.partition("://")[2].replace("%23", "#").replace("%25", "%")
    connect = sqlite3.connect if uri.startswith("sqlite") else duckdb.connect
    with connect(path) as connection:
        connection.execute("DELETE FROM t WHERE id = 0")
    connection.close()
    second = DataConnector.from_sql("SELECT count(*) AS n FROM t", uri).to_arrow()
    assert (first["n"][0].as_py(), second["n"][0].as_py()) == (_ROWS, _ROWS - 1)


@_BOTH
def test_a_later_attempt_of_a_job_reads_what_the_first_one_read(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPOOLS_STAGE", str(tmp_path / "checkpoints" / "uid" / "sql"))
    plans = [resolve(SqlSource("SELECT id FROM t", uri)) for _ in range(2)]
    assert plans[0] == plans[1]
    monkeypatch.setenv("MLPOOLS_STAGE", str(tmp_path / "checkpoints" / "other" / "sql"))
    other = resolve(SqlSource("SELECT id FROM t", uri))
    assert other.files[0].url != plans[0].files[0].url
    assert other.fingerprint() == plans[0].fingerprint()


def test_a_job_hears_that_reading_gets_on(sqlite_file: Path) -> None:
    heard = []
    with sqlite3.connect(sqlite_file) as connection, reported_to(lambda: heard.append(True)):
        DataConnector.from_sql("SELECT id FROM t", connection, columns=["id"])
    connection.close()
    assert heard


def test_rows_are_laid_down_in_an_object_store(sqlite_file: Path, object_store: ObjectStore) -> None:
    address = str(sqlite_file).replace("%", "%25").replace("#", "%23")
    arguments = ("SELECT id FROM t", f"sqlite://{address}")
    first = DataConnector.from_sql(*arguments, stage="s3://bucket/checkpoints/uid/sql")
    assert first.to_arrow()["id"].to_pylist() == list(range(_ROWS))
    sqlite_file.unlink()
    assert DataConnector.from_sql(*arguments, stage="s3://bucket/checkpoints/uid/sql").num_rows == _ROWS


def test_a_job_finds_its_secret_by_the_name_of_the_data_set(
    sqlite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpools.data.sql.source.CONNECTIONS_MOUNT", str(tmp_path))
    section = {"connectionSecret": "sales-db", "query": "SELECT id, x FROM t"}
    source = from_spec("train", {"sql": section, "columns": ["x"], "filter": "id < 10"})
    with pytest.raises(SecretMissing, match=f"mounted at {tmp_path}/train"):
        resolve(source)
    (tmp_path / "train").mkdir()
    address = str(sqlite_file).replace("%", "%25").replace("#", "%23")
    (tmp_path / "train" / "uri").write_text(f"sqlite://{address}\n")
    assert DataConnector.from_sources(source).to_arrow()["x"].to_pylist() == [i / 2 for i in range(10)]
    with pytest.raises(InvalidSpec, match=r"data\.train\.sql has no field 'partitonOn'.*partitionOn"):
        from_spec("train", {"sql": {**section, "partitonOn": "id"}})
