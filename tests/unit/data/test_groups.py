"""Whole groups: rows that share a value of the group column stay together, wherever a border would fall."""

from __future__ import annotations

import itertools
import random
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools import budgets
from mlpools.contract.wiring import CACHE_ENV
from mlpools.data import DataConnector, ShardedDataConnector, buckets
from mlpools.data.formats import Bounds
from mlpools.data.groups import cuts, find_order, runs
from mlpools.data.hashing import hash64
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.gang import Gang

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=40)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    return tmp_path / "cache"


def keys_of(sizes: list[int]) -> list[int]:
    return [key for key, size in enumerate(sizes) for _ in range(size)]


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(1, 12), st.integers(1, 6), st.booleans())
def test_cuts_fall_between_groups_and_as_even_as_groups_allow(
    sizes: list[int], row_group: int, world: int, descending: bool
) -> None:
    keys = sorted(keys_of(sizes), reverse=descending)
    parts = [keys[i : i + row_group] for i in range(0, len(keys), row_group)]
    bounds = [Bounds(min(part), max(part), 0, len(part)) for part in parts]
    order = find_order(bounds, [len(part) for part in parts])
    assert order is not None
    asked: list[int] = []

    def read(group: int) -> pa.Array:
        asked.append(group)
        return pa.array(parts[group])

    found = cuts(order, world, read)
    if found is None:
        # One row group says nothing about its direction; then rows are brought together by their hash.
        assert descending
        assert len(parts) == 1
        return
    assert found[0] == 0
    assert found[-1] == len(keys)
    assert found == sorted(found)
    assert all(cut in (0, len(keys)) or keys[cut - 1] != keys[cut] for cut in found)
    assert all(abs(cut - len(keys) * k / world) <= max(sizes) for k, cut in enumerate(found))
    # The first; the one of the cut, and where a group crosses row groups the ones where it begins and ends.
    assert len(asked) <= 1 + 3 * (world - 1)


def test_statistics_that_do_not_say_sorted_are_not_trusted() -> None:
    def known(*ends: tuple[Any, Any], nulls: int | None = 0) -> bool:
        return find_order([Bounds(low, high, nulls, 5) for low, high in ends], [5] * len(ends)) is not None

    assert known((0, 3), (3, 5), (5, 5))
    assert known((5, 5), (3, 5), (0, 3))
    assert not known((0, 3), (2, 5))
    assert not known((0, 3), (4, 5), (1, 2))
    assert not known((0, 3), (4, 5), nulls=1)
    assert not known((0, 3), (4, 5), nulls=None)
    assert not known((0.0, 3.0), (4.0, 5.0))
    assert find_order([Bounds(0, 1, 0, 5), None], [5, 5]) is None


def test_runs_count_nulls_as_equal() -> None:
    assert runs(pa.array([None, None, 1, 1, 2, None])) == [0, 2, 4, 5]
    assert runs(pa.array(["a", "a", None, "b"]).dictionary_encode()) == [0, 2, 3]
    assert runs(pa.array([], pa.int64())) == []


def test_equal_values_hash_alike_in_every_form() -> None:
    numbers = [0, 1, 127, None]
    expected = hash64(pa.array(numbers, pa.int64()), "k").tolist()
    for kind in (pa.int8(), pa.uint8(), pa.int32(), pa.uint64()):
        assert hash64(pa.array(numbers, kind), "k").tolist() == expected
    assert hash64(pa.array(numbers).dictionary_encode(), "k").tolist() == expected
    texts = pa.array(["x", "", None, "x"])
    expected = hash64(texts, "k").tolist()
    for form in (texts.cast(pa.large_string()), texts.cast(pa.string_view()), texts.dictionary_encode()):
        assert hash64(form, "k").tolist() == expected
    assert expected[0] == expected[3]
    assert len(set(expected)) == 3


def test_equal_numbers_and_moments_hash_alike_in_every_unit() -> None:
    amounts = [Decimal(text) for text in ("1.50", "-0.10", "100", "0")] + [None]
    expected = hash64(pa.array(amounts, pa.decimal128(10, 2)), "k").tolist()
    for kind in (pa.decimal128(20, 9), pa.decimal256(40, 12)):
        assert hash64(pa.array(amounts, kind), "k").tolist() == expected
    tiny = [Decimal("0.00000012")]
    assert hash64(pa.array(tiny, pa.decimal128(12, 8)), "k") == hash64(
        pa.array(tiny, pa.decimal128(20, 15)), "k"
    )
    moments = [datetime(2020, 1, 1, 0, 0, 10), datetime(1969, 12, 31, 23, 59, 59), None]
    expected = hash64(pa.array(moments, pa.timestamp("s")), "k").tolist()
    for unit in ("ms", "us", "ns"):
        assert hash64(pa.array(moments, pa.timestamp(unit)), "k").tolist() == expected
        assert hash64(pa.array(moments, pa.timestamp(unit, "Europe/Berlin")), "k").tolist() == expected
    assert len(set(expected)) == 3


def test_a_hash_is_the_same_for_ever() -> None:
    """Ranks of different versions, and results that were begun by another one, have to agree."""
    assert hash64(pa.array([0, 1, -1]), "k").tolist() == [
        16294208416658607535,
        10451216379200822465,
        16490336266968443936,
    ]
    assert hash64(pa.array(["a"]), "k").tolist() == [3405396810240292928]
    assert hash64(pa.array([None, 0], pa.int8()), "k").tolist()[0] == 0x9E3779B97F4A7C15
    assert hash64(pa.array([Decimal("1.5")]), "k").tolist() == hash64(pa.array(["1.5"]), "k").tolist()
    moment = pa.array([datetime(2020, 1, 1)], pa.timestamp("us"))
    assert hash64(moment, "k").tolist() == hash64(pa.array(["2020-01-01 00:00:00"]), "k").tolist()


def test_only_values_that_can_be_equal_are_hashed() -> None:
    with pytest.raises(InvalidSpec, match="'k' is double"):
        hash64(pa.array([1.5]), "k")


def write(folder: Path, keys: list[Any], files: int, row_group: int) -> None:
    table = pa.table({"key": keys, "row": range(len(keys))})
    size = -(-len(keys) // files)
    for i in range(files):
        pq.write_table(table.slice(i * size, size), folder / f"{i}.parquet", row_group_size=row_group)


def shards(folder: Path, world: int) -> list[DataConnector]:
    connector = ShardedDataConnector.from_sources(f"{folder}/*.parquet", group_column="key")
    return [connector.get_shard(Gang(rank=rank, world_size=world)) for rank in range(world)]


def shuffled(keys: list[Any]) -> list[Any]:
    return random.Random(0).sample(keys, len(keys))


GROUPS = keys_of([random.Random(1).randint(1, 40) for _ in range(60)])
SHAPES = {
    "sorted": GROUPS,
    "texts": [f"{key:03d}" for key in GROUPS],
    "one large group": sorted([*GROUPS, *[30] * 600]),
    "in any order": shuffled(GROUPS),
    "texts and nulls": shuffled([f"k{key}" if key % 7 else None for key in GROUPS]),
    "one group": [1] * 100,
    "groups of one size": keys_of([5] * 60),
    "sorted within no row group": [
        key for i in range(0, len(GROUPS), 50) for key in shuffled(GROUPS[i : i + 50])
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("world", "row_group"), [(1, 50), (3, 50), (4, 7), (7, 1000)])
def test_no_border_parts_a_group(tmp_path: Path, shape: str, world: int, row_group: int) -> None:
    keys = SHAPES[shape]
    write(tmp_path, keys, 3, row_group)
    tables = [shard.to_arrow() for shard in shards(tmp_path, world)]
    owners = [set(table.column("key").to_pylist()) for table in tables]
    assert all(not one & other for one, other in itertools.combinations(owners, 2))
    rows = sorted(row for table in tables for row in table.column("row").to_pylist())
    assert rows == list(range(len(keys)))
    for table in tables:
        values = table.column("key").to_pylist()
        assert len(runs(table.column("key").combine_chunks())) == len(set(values))
        assert all(keys[row] == key for row, key in zip(table.column("row").to_pylist(), values, strict=True))


def test_sorted_data_is_not_copied(tmp_path: Path, cache: Path) -> None:
    write(tmp_path, GROUPS, 3, 50)
    sizes = [shard.num_rows for shard in shards(tmp_path, 3)]
    assert not cache.exists()
    assert max(sizes) - min(sizes) <= 80


@pytest.mark.parametrize("shape", ["sorted", "in any order"])
def test_batches_are_of_whole_groups(tmp_path: Path, shape: str) -> None:
    write(tmp_path, SHAPES[shape], 3, 50)
    (shard,) = shards(tmp_path, 1)
    orders = []
    for shuffle in (False, True, True):
        batches = list(shard.to_batches(7, shuffle=shuffle, columns=["row", "key"]))
        groups = [[key for key, _ in itertools.groupby(batch.column("key").to_pylist())] for batch in batches]
        assert [len(keys) for keys in groups] == [7] * 8 + [4]
        orders.append([key for keys in groups for key in keys])
        assert sorted(orders[-1]) == list(range(60))
        rows = [row for batch in batches for row in batch.column("row").to_pylist()]
        assert sorted(rows) == list(range(len(GROUPS)))
        assert batches[0].schema.names == ["row", "key"]
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("shape", ["in any order", "groups of one size"])
def test_a_stop_goes_on_with_the_groups_that_are_left(tmp_path: Path, shape: str) -> None:
    write(tmp_path, SHAPES[shape], 3, 50)
    seen, states = [], []
    for shard in shards(tmp_path, 2):
        batches = shard.to_batches(5, shuffle=True)
        seen += [row for _ in range(2) for row in next(batches).column("row").to_pylist()]
        states.append(shard.state_dict())
    for rank, shard in enumerate(shards(tmp_path, 2)):
        shard.load_state_dict(states[rank])
        seen += [
            row for batch in shard.to_batches(5, shuffle=True) for row in batch.column("row").to_pylist()
        ]
    assert sorted(seen) == list(range(len(SHAPES[shape])))
    other = shards(tmp_path, 2)[0]
    other.load_state_dict(states[1])
    with pytest.raises(InvalidSpec, match="other data"):
        next(other.to_batches(5, shuffle=True))


def test_rows_that_are_sorted_by_row_group_only_give_no_batches(tmp_path: Path) -> None:
    write(tmp_path, [1, 1, 2, 2, 4, 3, 4, 3], 1, 4)
    (shard,) = shards(tmp_path, 1)
    with pytest.raises(DataNotReadable, match="Sort the rows by 'key'"):
        next(shard.to_batches(1))


def test_a_table_in_memory_has_groups_too() -> None:
    for keys in (GROUPS, shuffled(GROUPS)):
        table = pa.table({"key": pa.array(keys).dictionary_encode(), "row": range(len(keys))})
        connector = ShardedDataConnector.from_dataframe(table, group_column="key")
        parts = [connector.get_shard(Gang(rank=rank, world_size=3)).to_arrow() for rank in range(3)]
        owners = [set(part.column("key").to_pylist()) for part in parts]
        assert sum(map(len, owners)) == len(set(keys))
        assert sum(part.num_rows for part in parts) == len(keys)
        batches = connector.get_shard(Gang()).to_batches(10, shuffle=True)
        assert sum(len(set(batch.column("key").to_pylist())) for batch in batches) == len(set(keys))


def test_large_parts_are_sorted_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_PART_BYTES", 2000)
    write(tmp_path, SHAPES["in any order"], 3, 50)
    (shard,) = shards(tmp_path, 1)
    table = shard.to_arrow()
    assert len(shard.ranges) > 4
    assert len(runs(table.column("key").combine_chunks())) == 60


def test_what_was_laid_down_goes_with_its_connector(tmp_path: Path, cache: Path) -> None:
    write(tmp_path, SHAPES["in any order"], 3, 50)
    found = shards(tmp_path, 2)
    assert len(list((cache / "groups").glob("*/*/*.parquet"))) == 2
    del found
    assert list((cache / "groups").glob("*/*/")) == []


def test_only_columns_that_will_be_read_are_laid_down(tmp_path: Path) -> None:
    write(tmp_path, SHAPES["in any order"], 3, 50)
    connector = ShardedDataConnector.from_sources(f"{tmp_path}/*.parquet", group_column="key")
    shard = connector.get_shard(Gang(rank=0, world_size=2), columns=["row"])
    assert shard.schema.names == ["row", "key"]
    every = connector.get_shard(Gang(rank=0, world_size=2))
    assert shard.to_arrow()["row"].equals(every.to_arrow()["row"])


def test_a_full_cache_disk_is_said_before_anything_is_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "disk", lambda folder: 1000)
    write(tmp_path, SHAPES["in any order"], 3, 50)
    with pytest.raises(DataNotReadable, match=r"not sorted by 'key'.*larger cache"):
        shards(tmp_path, 2)
    assert not cache.exists()


def test_equal_shards_of_groups_are_refused(tmp_path: Path) -> None:
    write(tmp_path, GROUPS, 1, 50)
    with pytest.raises(InvalidSpec, match="equal=True and group_column"):
        ShardedDataConnector.from_parquet(str(tmp_path), equal=True, group_column="key")
    with pytest.raises(DataNotReadable, match="no column 'kee'"):
        ShardedDataConnector.from_parquet(str(tmp_path), group_column="kee").get_shard()


def test_groups_are_spread_evenly_by_their_hash() -> None:
    counts = np.bincount(hash64(pa.array(range(100_000)), "k") % np.uint64(10))
    assert abs(counts - 10_000).max() < 5 * 95
