from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mlpools.data import DataConnector
from mlpools.data.writers.tables import write_delta, write_sql
from mlpools.errors import InvalidSpec, OutputExists, OutputNotWritable

_ROWS = pa.table({"a": [1, 2, 3], "s": ["x", None, "z"]})
_MORE = pa.table({"a": [4], "s": ["y"]})


class _SourceError(RuntimeError):
    pass


def _breaking() -> Iterator[pa.RecordBatch]:
    yield from _MORE.to_batches()
    raise _SourceError("the rows broke off")


@pytest.fixture(params=["sqlite", "duckdb"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}://{tmp_path}/d.{request.param}"


def _read(uri: str, table: str = "t") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        DataConnector.from_sql(f"SELECT * FROM {table} ORDER BY a", uri).to_arrow().to_pylist()
    )
    return rows


@pytest.mark.parametrize(
    "rows",
    [
        _ROWS,
        DataConnector.from_dataframe(_ROWS),
        iter(_ROWS.to_batches(max_chunksize=1)),
        pd.DataFrame({"a": [1, 2, 3], "s": ["x", None, "z"]}),
        _ROWS.to_batches()[0],
    ],
    ids=["table", "connector", "batches", "pandas", "batch"],
)
def test_rows_of_any_form_are_written(rows: Any, tmp_path: Path) -> None:
    uri = f"duckdb://{tmp_path}/d.duckdb"
    assert write_sql(rows, uri, "t", mode="create") == 3
    assert _read(uri) == _ROWS.to_pylist()


def test_create_append_and_replace(uri: str) -> None:
    write_sql(_ROWS, uri, "t", mode="create")
    write_sql(_MORE, uri, "t")
    assert _read(uri) == [*_ROWS.to_pylist(), *_MORE.to_pylist()]
    write_sql(_MORE, uri, "t", mode="replace")
    assert _read(uri) == _MORE.to_pylist()


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_rows_that_break_off_change_nothing(uri: str, mode: Any) -> None:
    write_sql(_ROWS, uri, "t", mode="create")
    with pytest.raises(_SourceError):
        write_sql(_breaking(), uri, "t", mode=mode)
    assert _read(uri) == _ROWS.to_pylist()


def test_what_cannot_be_written_is_one_sentence(uri: str, tmp_path: Path) -> None:
    write_sql(_ROWS, uri, "t", mode="create")
    with pytest.raises(OutputExists, match=r"The table t of \w+:///.* is there already\."):
        write_sql(_ROWS, uri, "t", mode="create")
    with pytest.raises(OutputNotWritable, match=r"The table t of .* cannot be written: "):
        write_sql(pa.table({"nosuch": [1]}), uri, "t")
    with pytest.raises(OutputNotWritable) as failure:
        write_sql(_ROWS, f"{uri.partition(':')[0]}://{tmp_path}/nosuch/d", "t")
    assert "\n" not in str(failure.value)
    assert _read(uri) == _ROWS.to_pylist()


def test_an_open_connection_is_not_committed() -> None:
    with duckdb.connect() as connection, pytest.raises(InvalidSpec, match="give the URI"):
        write_sql(_ROWS, connection, "t")  # type: ignore[arg-type]


def test_rows_without_columns_are_refused(uri: str) -> None:
    with pytest.raises(InvalidSpec, match="not one batch"):
        write_sql(iter(()), uri, "t")


def test_a_new_file_of_sqlite(tmp_path: Path) -> None:
    write_sql(_ROWS, f"sqlite://{tmp_path}/new.db", "t", mode="create")
    with sqlite3.connect(tmp_path / "new.db") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (3,)
    connection.close()


def test_a_secret_says_where(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "uri").write_text(f"sqlite://{tmp_path}/new.db")
    assert write_sql(_ROWS, tmp_path / "secret", "t", mode="create") == 3


def _delta(url: Path | str) -> list[dict[str, Any]]:
    return sorted(DataConnector.from_delta(str(url)).to_arrow().to_pylist(), key=lambda row: row["a"])


def test_a_delta_table(tmp_path: Path) -> None:
    assert write_delta(_ROWS, str(tmp_path), mode="create", partition_by=["s"]) == 3
    assert write_delta(_MORE, str(tmp_path)) == 1
    assert _delta(tmp_path) == [*_ROWS.to_pylist(), *_MORE.to_pylist()]
    with pytest.raises(OutputExists, match="is a Delta table already"):
        write_delta(_ROWS, str(tmp_path), mode="create")
    assert write_delta(_MORE, str(tmp_path), mode="replace") == 1
    assert _delta(tmp_path) == _MORE.to_pylist()


def test_a_version_of_an_application_is_written_once(tmp_path: Path) -> None:
    url = str(tmp_path)
    assert [write_delta(_ROWS, url, application="job-1", version=v) for v in (0, 0, 1, 0, 1)] == [
        3,
        0,
        3,
        0,
        0,
    ]
    assert write_delta(_MORE, url, application="job-2", version=0) == 1
    assert len(_delta(url)) == 7


def test_of_two_writers_of_one_version_one_writes(tmp_path: Path) -> None:
    """The other one, believed dead, finishes while this one is writing."""
    url = str(tmp_path)
    write_delta(_ROWS, url)

    def overtaken() -> Iterator[pa.RecordBatch]:
        yield from _MORE.to_batches()
        with ThreadPoolExecutor(1) as other:
            assert other.submit(write_delta, _MORE, url, application="job", version=3).result() == 1

    assert write_delta(overtaken(), url, application="job", version=3) == 0
    assert len(_delta(url)) == 4


def test_delta_rows_that_break_off_are_not_visible(tmp_path: Path) -> None:
    write_delta(_ROWS, str(tmp_path))
    with pytest.raises(_SourceError):
        write_delta(_breaking(), str(tmp_path))
    assert DeltaTable(tmp_path).version() == 0
    assert _delta(tmp_path) == _ROWS.to_pylist()


def test_delta_rows_that_do_not_fit(tmp_path: Path) -> None:
    write_delta(_ROWS, str(tmp_path))
    with pytest.raises(
        OutputNotWritable, match=r"The Delta table .* cannot be written: .*Do the columns fit"
    ):
        write_delta(pa.table({"a": ["no number"]}), str(tmp_path))
    if os.geteuid():
        (tmp_path / "_delta_log").chmod(0o500)
        with pytest.raises(OutputNotWritable):
            write_delta(_MORE, str(tmp_path))
