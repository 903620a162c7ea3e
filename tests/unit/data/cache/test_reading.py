"""A connector with a cache gives the same rows as one without, and decodes each of them once."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.contract.wiring import CACHE_ENV
from mlpools.data import DataConnector, reader
from mlpools.data.formats import parquet
from mlpools.data.ingestor import ArrowIngestor
from mlpools.data.plan import Unit
from mlpools.data.sharding import RowRange
from mlpools.data.sources import MemorySource, ParquetSource
from mlpools.errors import DataNotReadable
from mlpools.storage.shelf import Shelf

TABLE = pa.table(
    {"x": range(1000), "y": [i / 7 for i in range(1000)], "c": [f"v{i % 3}" for i in range(1000)]}
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(4):
        pq.write_table(
            TABLE.slice(250 * i, 250), folder / f"{i}.parquet", row_group_size=100, compression="none"
        )
    return folder


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The row groups that were decoded, by their number within a file."""
    found: list[int] = []
    read = parquet._RowGroups.read

    def counted(self: parquet._RowGroups, unit: Unit) -> Iterator[pa.Table]:
        found.append(unit.start)
        return read(self, unit)

    monkeypatch.setattr(parquet._RowGroups, "read", counted)
    return found


def ingestor(files: Path, cache: bool | None = None) -> ArrowIngestor:
    return ArrowIngestor.from_sources([ParquetSource((str(files),))], cache=cache)


def rows(made: ArrowIngestor, ranges: list[RowRange] | None = None) -> pa.Table:
    return pa.concat_tables(made.read(ranges, ["x", "c"]))


def test_what_was_decoded_once_is_not_decoded_again(files: Path, decoded: list[int]) -> None:
    connector = DataConnector.from_parquet(str(files), cache=True)
    for _ in range(2):
        assert connector.to_arrow().equals(TABLE)
    assert len(decoded) == 12
    assert pickle.loads(pickle.dumps(connector)).to_arrow().equals(TABLE)
    assert DataConnector.from_parquet(str(files), cache=True).to_arrow(300).equals(TABLE.slice(0, 300))
    assert len(decoded) == 12


@pytest.mark.parametrize(
    "selection",
    [{"columns": ("c", "x")}, {"filter": "x >= 150 and c != 'v1'"}, {"limit": 333}, {"columns": ("y",)}],
)
def test_other_columns_and_filters_are_other_rows(files: Path, selection: dict[str, object]) -> None:
    DataConnector.from_parquet(str(files), cache=True).to_arrow()
    plain = DataConnector.from_parquet(str(files), **selection).to_arrow()
    for _ in range(2):
        assert DataConnector.from_parquet(str(files), cache=True, **selection).to_arrow().equals(plain)


def test_other_columns_of_one_connector_are_other_tables(files: Path) -> None:
    connector = DataConnector.from_parquet(str(files), cache=True)
    for columns in (["x", "y", "c"], ["c"], ["y", "x"], ["x", "y"]):
        assert connector.to_arrow(columns=columns).equals(TABLE.select(columns))


def test_pieces_of_another_size_are_other_pieces(files: Path) -> None:
    made = ingestor(files)
    assert made.plan is not None
    for budget in (1 << 20, 1 << 10, 1 << 20):
        tables = list(reader.read(made.plan, None, ["x"], budget=budget, cache=made._decoded))
        assert (len(tables) == 12) == (budget > 1 << 10)
        assert pa.concat_tables(tables).equals(TABLE.select(["x"]))


def test_a_filter_that_leaves_no_row_of_a_unit_reads_it_once(files: Path, decoded: list[int]) -> None:
    wanted = DataConnector.from_parquet(str(files), cache=True, filter="c = 'v0' and x < 90")
    assert wanted.to_arrow().num_rows == 30
    first = len(decoded)
    assert wanted.to_arrow().num_rows == 30
    assert len(decoded) == first


def test_a_new_version_of_a_file_is_decoded_anew(files: Path) -> None:
    DataConnector.from_parquet(str(files), cache=True).to_arrow()
    path = files / "2.parquet"
    before = path.stat()
    pq.write_table(
        TABLE.slice(500, 250).take(list(range(250))[::-1]), path, row_group_size=100, compression="none"
    )
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size
    again = DataConnector.from_parquet(str(files), cache=True).to_arrow()
    assert again.column("x").to_pylist()[500:750] == list(range(500, 750))[::-1]


def test_ranges_in_any_order_come_back_to_units_that_are_decoded_once(
    files: Path, decoded: list[int]
) -> None:
    made = ingestor(files, cache=True)
    ranges = [
        RowRange(group, start, min(start + 7, size))
        for group, size in enumerate(made.group_rows)
        for start in range(0, size, 7)
    ]
    random.Random(0).shuffle(ranges)
    found = rows(made, ranges)
    assert sorted(found.column("x").to_pylist()) == list(range(1000))
    borders = [sum(made.group_rows[:group]) for group in range(12)]
    assert found.column("x").to_pylist() == [
        borders[part.group] + i for part in ranges for i in range(part.start, part.stop)
    ]
    assert len(decoded) == 12


def test_ranges_that_come_back_are_right_when_nothing_can_be_kept(
    files: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    monkeypatch.setattr(Shelf, "_budget", lambda self, held: 3000)
    made = ingestor(files, cache=True)
    ranges = [RowRange(group, start, start + 10) for start in (20, 0, 10) for group in (5, 0, 9)]
    found = rows(made, ranges)
    assert len(decoded) > len(ranges) / 3, "nothing that is not in files stays in memory"
    assert found.equals(rows(ingestor(files, cache=False), ranges))


def test_a_damaged_source_is_told_and_nothing_of_it_kept(files: Path, cache_folder: Path) -> None:
    made = ingestor(files, cache=True)
    path = files / "1.parquet"
    content, before = bytearray(path.read_bytes()), path.stat()
    content[100:900] = bytes(800)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataNotReadable, match=r"1\.parquet, row group 0, is damaged"):
        rows(made)
    assert len(list(cache_folder.glob("decoded/*.arrow"))) == 3


def test_by_default_a_cache_is_used_by_who_reads_again_where_a_folder_was_given(
    files: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    once, again = ingestor(files), ingestor(files).for_epochs()
    assert not once.random_access(1000, ["x"])
    assert again.random_access(1000, ["x"])
    rows(once)
    assert not cache_folder.exists()
    rows(again)
    assert len(list(cache_folder.glob("decoded/*.arrow"))) == 12
    assert not ingestor(files, cache=False).for_epochs().random_access(1000, ["x"])
    monkeypatch.setattr(Shelf, "_budget", lambda self, held: 1000)
    assert not ingestor(files).for_epochs().random_access(1000, ["x"])
    assert not ingestor(files, cache=True).random_access(1000, ["x"])


def test_without_a_folder_that_was_given_no_cache_is_used_by_default(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CACHE_ENV)
    assert not ingestor(files).for_epochs().random_access(1000, ["x"])


def test_a_table_in_memory_needs_no_cache() -> None:
    made = ArrowIngestor.from_sources([MemorySource(TABLE)], cache=True)
    assert made.for_epochs().random_access(1000, ["x"])
    assert rows(made, [RowRange(0, 5, 7), RowRange(0, 2, 3)]).column("x").to_pylist() == [5, 6, 2]
