"""Reading ahead: in order, within a budget, and over as soon as nobody wants more."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mlpools.data import DataConnector, MemorySource
from mlpools.data.ahead import read_ahead
from mlpools.data.matrix import own
from mlpools.data.plan import resolve
from mlpools.data.reader import read
from mlpools.data.sources import ParquetSource
from mlpools.errors import DataNotReadable
from tests.support.waiting import PATIENCE

TABLE = pa.table({"x": np.zeros(1000)})  # 8,000 bytes


class Source:
    """Makes tables, and tells how many are made and whether it was closed."""

    def __init__(self, tables: int, fails: bool = False) -> None:
        self.made = 0
        self.closed = False
        self.waiting = threading.Semaphore(0)
        self._tables, self._fails = tables, fails

    def __iter__(self) -> Iterator[pa.Table]:
        try:
            while self.made < self._tables:
                self.made += 1
                self.waiting.release()
                yield pa.table({"x": np.full(1000, float(self.made))})
            if self._fails:
                raise DataNotReadable("The last file is damaged.")
        finally:
            self.closed = True


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_tables_come_in_order_and_once() -> None:
    source = Source(50)
    values = [table["x"][0].as_py() for table in read_ahead(iter(source), 20_000)]
    assert values == [float(i) for i in range(1, 51)]
    assert source.closed
    assert not readers()


def test_what_goes_wrong_comes_after_the_tables_before_it() -> None:
    tables = read_ahead(iter(Source(3, fails=True)), 1)
    assert [next(tables).num_rows for _ in range(3)] == [1000] * 3
    with pytest.raises(DataNotReadable, match="last file"):
        next(tables)


@pytest.mark.parametrize(("budget", "ahead"), [(1, 1), (8_000, 1), (24_000, 3)])
def test_the_thread_stays_within_the_budget(budget: int, ahead: int) -> None:
    source = Source(50)
    tables = read_ahead(iter(source), budget)
    for taken in range(1, 5):
        next(tables)
        for _ in range(taken + ahead - source.made):  # it gets as far as it may …
            assert source.waiting.acquire(timeout=PATIENCE)
        assert source.made <= taken + ahead + 1  # … and no further
    tables.close()  # type: ignore[attr-defined]
    assert source.closed
    assert not readers()


def test_a_reader_that_is_forgotten_stops() -> None:
    source = Source(50)
    tables = read_ahead(iter(source), 1)
    next(tables)
    del tables
    gc.collect()
    assert source.closed
    assert not readers()


def test_nothing_is_read_before_the_first_table_is_wanted() -> None:
    source = Source(5)
    tables = read_ahead(iter(source), 1)
    assert source.made == 0
    tables.close()  # type: ignore[attr-defined]


def test_a_row_group_of_one_value_repeated_is_read_in_pieces(tmp_path: Path) -> None:
    """It is a few bytes in the file; what counts is what it takes in memory."""
    pq.write_table(pa.table({"x": np.zeros(200_000)}), tmp_path / "x.parquet")
    plan = resolve(ParquetSource((str(tmp_path),)))
    sizes = [table.nbytes for table in read(plan, None, ["x"], budget=400_000)]
    assert len(sizes) > 10
    assert max(sizes) <= 110_000


def test_views_of_text_become_text(tmp_path: Path) -> None:
    views = pa.table({"t": pa.array(["a", "b", None], pa.string_view())})
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), views.schema) as writer:
        writer.write_table(views)
    connector = DataConnector.from_arrow(str(tmp_path), filter="t <> 'a'")
    assert connector.schema.field("t").type == pa.string()
    assert connector.to_arrow().to_pydict() == {"t": ["b"]}


def test_an_integer_that_no_float_holds_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [0.5]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [2**53 + 1]}), tmp_path / "b.parquet")
    with pytest.raises(
        DataNotReadable, match=r"b\.parquet, row group 0, column 'x' does not fit double: .*9007199254740993"
    ):
        DataConnector.from_parquet(str(tmp_path)).to_arrow()


def test_tables_in_memory_are_read_without_a_copy() -> None:
    [table] = DataConnector.from_sources(MemorySource(TABLE)).to_tables()
    assert table["x"].chunk(0).buffers()[1].address == TABLE["x"].chunk(0).buffers()[1].address


LIMITED = """
import resource
import numpy, pyarrow.csv, pyarrow.parquet
from mlpools.data.plan import resolve
from mlpools.data.reader import read
from mlpools.data.sources import CsvSource, JsonSource, ParquetSource
plan = resolve({source}(({url!r},)))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = int(status["VmData"].split()[0]) * 1024 + {more}
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
rows = total = 0
for table in read(plan, None, ["a", "b"], budget=32 << 20):
    rows, total = rows + table.num_rows, total + table.nbytes
print(rows, total)
"""


@pytest.mark.parametrize("kind", ["one row group", "csv.gz", "jsonl.gz"])
def test_a_file_far_larger_than_memory_streams(tmp_path: Path, kind: str) -> None:
    rows, more = (16_000_000, 120 << 20) if kind == "jsonl.gz" else (25_000_000, 180 << 20)
    if kind == "csv.gz":
        source = "CsvSource"
        with pa.CompressedOutputStream(str(tmp_path / "x.csv.gz"), "gzip") as sink:
            sink.write(b"a,b\n")
            for _ in range(25):
                sink.write(b"1,2.5\n" * 1_000_000)
    elif kind == "jsonl.gz":
        source = "JsonSource"
        with pa.CompressedOutputStream(str(tmp_path / "x.jsonl.gz"), "gzip") as sink:
            for _ in range(16):
                sink.write(b'{"a":1,"b":2.5}\n' * 1_000_000)
    else:
        source = "ParquetSource"
        table = pa.table({"a": np.zeros(rows, np.int64), "b": np.ones(rows)})
        pq.write_table(table, tmp_path / "x.parquet", row_group_size=rows)
        del table
    code = LIMITED.format(more=more, url=str(tmp_path), source=source)
    # One arena, whatever threads there are: what others reserve and do not use would count, too.
    environ = {
        "PYTHONPATH": ":".join(sys.path),
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "1",
    }
    program = [sys.executable, "-c", code]
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    read_rows, total = map(int, done.stdout.split())
    assert read_rows == rows
    assert total >= 2 * more


WATCHED = """
from mlpools.data import DataConnector
rows = peak = 0
for table in DataConnector.from_arrow({url!r}).to_tables():
    rows += table.num_rows
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = max(peak, int(status["RssAnon"].split()[0]) // 1024)
print(rows, peak)
"""


@pytest.mark.parametrize("form", [pa.ipc.new_file, pa.ipc.new_stream])
def test_an_arrow_file_of_one_large_batch_streams(tmp_path: Path, form: Callable[..., Any]) -> None:
    """As polars writes them. Pages of the mapped file are the kernel's, which takes them back."""
    rows = 25_000_000
    with form(str(tmp_path / "x.arrow"), pa.schema({"a": pa.int64(), "b": pa.float64()})) as writer:
        writer.write_batch(pa.record_batch({"a": np.zeros(rows, np.int64), "b": np.ones(rows)}))
    code = WATCHED.format(url=str(tmp_path))
    environ = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
    read_rows, peak = map(int, done.stdout.split())
    assert read_rows == rows
    assert peak < 200  # MB, of 400


def test_changing_a_piece_of_a_large_batch_in_place_changes_no_file(tmp_path: Path) -> None:
    rows = 5_000_000
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), pa.schema({"a": pa.int64()})) as writer:
        writer.write_batch(pa.record_batch({"a": np.zeros(rows, np.int64)}))
    for table in DataConnector.from_arrow(str(tmp_path)).to_tables():
        own(table["a"].chunk(0).to_numpy())[:] = 1
    assert pc.sum(DataConnector.from_arrow(str(tmp_path)).to_arrow()["a"]).as_py() == 0
