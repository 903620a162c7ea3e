"""Every row is in exactly one shard, whatever the row groups."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.data.plan import Plan, PlannedFile, Unit
from mlpools.inference import shards
from mlpools.storage import FileInfo

GROUPS = st.lists(st.integers(0, 400), min_size=1, max_size=30)


def plan(groups: list[list[int]], **file: object) -> Plan:
    """Return a plan of files with row groups of so many rows."""
    files = tuple(
        PlannedFile(
            url=f"/data/{i}.parquet",
            name=f"{i}.parquet",
            size=100,
            version="",
            digest="",
            format="parquet",
            units=tuple(Unit(j, j + 1, rows) for j, rows in enumerate(of_file)),
            **file,  # type: ignore[arg-type]
        )
        for i, of_file in enumerate(groups)
    )
    return Plan(files, pa.schema({"x": pa.float32()}))


@given(GROUPS, st.integers(1, 500))
def test_shards_hold_every_row_once_in_order_and_none_is_too_large(groups: list[int], most: int) -> None:
    found = shards.cut(groups, most)
    assert [shard.number for shard in found] == list(range(len(found)))
    assert all(0 < shard.rows <= most for shard in found)
    rows = [
        (part.group, row) for shard in found for part in shard.ranges for row in range(part.start, part.stop)
    ]
    assert rows == [(group, row) for group, count in enumerate(groups) for row in range(count)]


@given(GROUPS, st.integers(1, 500))
def test_a_row_group_that_fits_is_not_parted(groups: list[int], most: int) -> None:
    parts = [part for shard in shards.cut(groups, most) for part in shard.ranges]
    for group, rows in enumerate(groups):
        own = [part for part in parts if part.group == group]
        assert len(own) <= max(1, -(-rows // most))


def test_a_row_is_traced_to_its_file() -> None:
    given_plan = plan([[5, 5], [3]])
    first, second = shards.cut(given_plan.group_rows, 8)
    assert [first.rows, second.rows] == [5, 8]
    assert shards.place_of(given_plan, first, 4) == ("/data/0.parquet", 4)
    assert shards.place_of(given_plan, second, 0) == ("/data/0.parquet", 5)
    assert shards.place_of(given_plan, second, 5) == ("/data/1.parquet", 0)
    with pytest.raises(IndexError):
        shards.place_of(given_plan, second, 8)


def test_a_file_that_is_a_row_is_named_itself() -> None:
    members = tuple(FileInfo(f"/data/{name}.jpg", 10, "") for name in "abc")
    given_plan = plan([[3]], members=members)
    [shard] = shards.cut([3], 3)
    assert shards.place_of(given_plan, shard, 2) == ("/data/c.jpg", 0)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([[1000]], 1 << 17),  # small inputs are one shard
        ([[1 << 18] * 16], 1 << 18),  # row groups stay whole
        ([[1 << 22]], 1 << 20),  # but none is larger than this
        ([[1 << 20] * 1024], 1 << 20),
    ],
)
def test_shards_follow_the_size_of_the_input(groups: list[list[int]], expected: int) -> None:
    assert shards.most_rows(plan(groups)) == expected


def test_wide_rows_make_small_shards_and_the_user_decides_in_the_end() -> None:
    wide = Plan(plan([[1 << 20]]).files, pa.schema({f"x{i}": pa.float64() for i in range(1000)}))
    assert shards.most_rows(wide) == (256 << 20) // 8000
    assert shards.most_rows(wide, 5000) == 5000
    assert shards.most_rows(wide, 5000, 100) == 100
    assert shards.most_rows(wide, None, 100) == 100
