"""Decoded tables come back equal, as views of a mapped file, and never from a file that was changed."""

from __future__ import annotations

import ctypes
import itertools
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.cache import decoded
from mlpools.data.cache.decoded import DecodedCache, name_of
from mlpools.storage.shelf import Shelf

NAME = name_of(["file", 1])


def cache(folder: Path) -> DecodedCache:
    return DecodedCache(Shelf(folder))


def floats(rows: int = 1000) -> pa.Table:
    values = np.random.default_rng(0).standard_normal((4, rows)).astype(np.float32)
    return pa.table(list(values), names=["a", "b", "c", "d"])


TABLES = {
    "floats": floats(),
    "odd rows": floats(1001),
    "empty": floats(0),
    "no columns": pa.table({}),
    "chunks": pa.concat_tables([floats(10), floats(20)]),
    "slice": floats().slice(3, 100),
    "nulls": pa.table({"x": [1, None, 3], "y": pa.nulls(3)}),
    "texts": pa.table({"x": ["a", None, "ccc"], "y": pa.array(["u", "v", "u"]).dictionary_encode()}),
    "nested": pa.table({"x": [[1, 2], [], None], "y": [{"a": 1}, None, {"a": 3}], "z": [True, False, None]}),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_a_table_comes_back_equal_from_this_and_another_process(table: pa.Table, tmp_path: Path) -> None:
    mine = cache(tmp_path)
    assert mine.find(NAME) is None
    for got in (mine.keep(NAME, table), mine.find(NAME), cache(tmp_path).find(NAME)):
        assert got is not None
        got.validate(full=True)
        assert got.equals(table)


def test_columns_are_evenly_spaced_views_of_one_mapping(tmp_path: Path) -> None:
    table = cache(tmp_path).keep(NAME, floats(1001))
    starts = [column.chunk(0).buffers()[1].address for column in table.columns]
    assert {after - before for before, after in itertools.pairwise(starts)} == {1001 * 4 + 4}


def test_a_change_in_place_is_private_and_gone_with_its_mapping(tmp_path: Path) -> None:
    mine = cache(tmp_path)
    for table in (mine.keep(NAME, floats()), mine.find(NAME)):
        assert table is not None
        ctypes.memset(table.column(0).chunk(0).buffers()[1].address, 0, 4000)
        assert table.column(0).to_pylist() == [0] * 1000
        again = mine.find(NAME)
        assert again is not None
        assert again.equals(floats())


def address(table: pa.Table) -> int:
    return int(table.column(0).chunk(0).buffers()[1].address)


def test_a_mapping_is_used_again_when_nobody_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, mapped = cache(tmp_path), []
    map_file = decoded.map_file
    monkeypatch.setattr(decoded, "map_file", lambda *file: mapped.append(file) or map_file(*file))
    table = mine.keep(NAME, floats())
    place = address(table)
    other = mine.find(NAME)
    assert other is not None
    assert address(other) != place
    values = table.column(1).chunk(0).to_numpy()
    del table
    assert len(mapped) == 2
    assert address(mine.find(NAME)) != place  # a view of it is still there
    del values
    again = mine.find(NAME)
    assert again is not None
    assert address(again) == place
    assert again.equals(floats())


def test_a_mapping_is_not_used_again_after_a_change_in_place(tmp_path: Path) -> None:
    mine = cache(tmp_path)
    table = mine.keep(NAME, floats(10_000))
    for _ in range(2):
        ctypes.memset(address(table) + 3 * 4, 1, 1)
        del table
        table = mine.find(NAME)
        assert table is not None
        assert table.equals(floats(10_000))


def test_a_mapping_of_a_file_that_went_or_is_another_is_not_used_again(tmp_path: Path) -> None:
    mine = cache(tmp_path)
    mine.keep(NAME, floats())
    cache(tmp_path).keep(NAME, floats(7))
    found = mine.find(NAME)
    assert found is not None
    assert found.equals(floats(7))
    del found
    mine.shelf.drop(NAME + ".arrow")
    assert mine.find(NAME) is None
    assert not mine._mappings._idle


def test_what_a_process_wrote_or_summed_it_does_not_sum_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed = []
    take = decoded._sum
    monkeypatch.setattr(decoded, "_sum", lambda mapping: summed.append(1) or take(mapping))
    mine, other = cache(tmp_path), cache(tmp_path)
    mine.keep(NAME, floats())
    mine.find(NAME)
    assert len(summed) == 1
    other.find(NAME)
    other.find(NAME)
    assert len(summed) == 2


@settings(deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found_and_the_file_removed(
    place: float, bit: int, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    cache(folder).keep(NAME, floats(50))
    (path,) = folder.glob("*.arrow")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    assert cache(folder).find(NAME) is None
    assert not path.exists()


@settings(deadline=None)
@given(length=st.floats(0, 1, exclude_max=True))
def test_a_torn_file_is_found(length: float, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("torn")
    cache(folder).keep(NAME, floats(50))
    (path,) = folder.glob("*.arrow")
    os.truncate(path, int(length * path.stat().st_size))
    assert cache(folder).find(NAME) is None


def test_pages_lost_in_a_power_cut_are_found(tmp_path: Path) -> None:
    cache(tmp_path).keep(NAME, floats())
    (path,) = tmp_path.glob("*.arrow")
    for lost in (slice(4096, 8192), slice(None)):
        content = bytearray(path.read_bytes())
        content[lost] = bytes(len(content[lost]))
        path.write_bytes(content)
        assert cache(tmp_path).find(NAME) is None
        cache(tmp_path).keep(NAME, floats())


def test_swapped_pages_are_found(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(1 << 14, dtype=np.float64)})
    cache(tmp_path).keep(NAME, table)
    (path,) = tmp_path.glob("*.arrow")
    content = bytearray(path.read_bytes())
    content[8192:16384], content[16384:24576] = content[16384:24576], content[8192:16384]
    path.write_bytes(content)
    assert cache(tmp_path).find(NAME) is None


def test_a_file_of_another_piece_is_not_taken_for_this_one(tmp_path: Path) -> None:
    cache(tmp_path).keep(NAME, floats())
    other = name_of(["file", 2])
    (path,) = tmp_path.glob("*.arrow")
    path.rename(path.with_name(f"{other}.arrow"))
    assert cache(tmp_path).find(other) is None


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    mine = cache(tmp_path)
    mine.keep(NAME, floats())
    cache(tmp_path).keep(NAME, floats(10))
    again = mine.find(NAME)
    assert again is not None
    assert again.num_rows == 10


def test_a_mapped_table_outlives_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "_budget", lambda self, held: 20_000)
    mine = cache(tmp_path)
    kept = mine.keep(NAME, floats())
    other = name_of(["file", 2])
    cache(tmp_path).keep(other, floats())
    assert mine.find(NAME) is None
    assert mine.find(other) is not None
    assert kept.equals(floats())


def pieces(mine: DecodedCache, tables: list[pa.Table]) -> tuple[list[pa.Table], int]:
    """The pieces of a unit, and how often it was read."""
    reads = []
    found = list(mine.pieces(["unit"], lambda: reads.append(1) or iter(tables)))  # type: ignore[func-returns-value]
    return found, len(reads)


@pytest.mark.parametrize("gone", [{0}, {1}, {0, 2}, {3}, {0, 1, 2, 3}])
def test_a_unit_is_read_only_if_a_piece_of_it_is_not_there(gone: set[int], tmp_path: Path) -> None:
    tables = [floats(10), floats(0), floats(20), floats(30)]
    whole = [tables[0], tables[2], tables[3]]
    assert pieces(cache(tmp_path), tables) == (whole, 1)
    assert pieces(cache(tmp_path), tables) == (whole, 0)
    for number in gone:
        (tmp_path / f"{name_of([['unit'], number])}.arrow").unlink()
    assert pieces(cache(tmp_path), tables) == (whole, 1)
    assert pieces(cache(tmp_path), tables) == (whole, 0)


def test_who_stops_early_keeps_what_was_read(tmp_path: Path) -> None:
    tables = [floats(10), floats(20)]
    first = next(cache(tmp_path).pieces(["unit"], lambda: iter(tables)))
    assert first.equals(tables[0])
    assert pieces(cache(tmp_path), tables) == (tables, 1)


def test_a_unit_without_rows_is_known_to_have_none(tmp_path: Path) -> None:
    assert pieces(cache(tmp_path), [floats(0)]) == ([], 1)
    assert pieces(cache(tmp_path), [floats(0)]) == ([], 0)


def test_of_what_is_larger_than_the_budget_the_same_part_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Shelf, "_budget", lambda self, held: 40_000)
    mine = cache(tmp_path)
    tables = [floats() for _ in range(5)]
    for _ in range(3):
        assert pieces(mine, tables) == (tables, 1)
        assert [mine.find(name_of([["unit"], number])) is not None for number in range(5)] == [
            True,
            True,
            False,
            False,
            False,
        ]
    assert not mine.complete
    assert len(caplog.messages) == 1


def test_what_cannot_be_kept_is_handed_back_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "_budget", lambda self, held: 100)
    small = cache(tmp_path)
    assert small.keep(NAME, floats()).equals(floats())
    assert small.find(NAME) is None


def test_a_cache_travels_without_its_mappings(tmp_path: Path) -> None:
    mine = cache(tmp_path)
    mine.keep(NAME, floats())
    assert len(pickle.dumps(mine)) < 1000
    assert pickle.loads(pickle.dumps(mine)).find(NAME).equals(floats())


def test_the_name_tells_every_part_of_the_identity() -> None:
    names = {name_of(identity) for identity in (["a", 1], ["a", 2], ["b", 1], [["a"], 1], "a1")}
    assert len(names) == 5
    assert name_of({"a": 1, "b": 2}) == name_of({"b": 2, "a": 1})
