"""Shards are a pure function of row counts; these are its promises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.sharding import RowRange, everything, shard

groups = st.lists(st.integers(0, 400), min_size=1, max_size=40)
worlds = st.integers(1, 12)


def rows(ranges: list[RowRange], group_rows: list[int]) -> list[int]:
    starts = [sum(group_rows[:i]) for i in range(len(group_rows))]
    return [starts[r.group] + row for r in ranges for row in range(r.start, r.stop)]


@settings(deadline=None, max_examples=40)
@given(groups, worlds)
def test_every_row_is_in_exactly_one_shard_in_order(group_rows: list[int], world: int) -> None:
    together = [row for rank in range(world) for row in rows(shard(group_rows, rank, world), group_rows)]
    assert together == list(range(sum(group_rows)))


@settings(deadline=None, max_examples=40)
@given(groups, worlds)
def test_shards_differ_by_five_percent_or_one_row(group_rows: list[int], world: int) -> None:
    sizes = [sum(r.rows for r in shard(group_rows, rank, world)) for rank in range(world)]
    assert max(sizes) - min(sizes) <= max(1, 0.05 * min(sizes))


@settings(deadline=None, max_examples=40)
@given(groups, worlds)
def test_at_most_two_row_groups_of_a_rank_are_shared(group_rows: list[int], world: int) -> None:
    for rank in range(world):
        ranges = shard(group_rows, rank, world)
        assert sum(r.rows < group_rows[r.group] for r in ranges) <= 2
        assert all(r.rows > 0 for r in ranges)


@settings(deadline=None, max_examples=40)
@given(groups, worlds, st.integers(0, 3), st.integers(0, 3))
def test_equal_shards_are_equal_disjoint_and_nearly_everything(
    group_rows: list[int], world: int, seed: int, epoch: int
) -> None:
    total = sum(group_rows)
    parts = [
        rows(shard(group_rows, rank, world, equal=True, seed=seed, epoch=epoch), group_rows)
        for rank in range(world)
    ]
    assert {len(part) for part in parts} == {total // world}
    together = [row for part in parts for row in part]
    assert together == sorted(set(together))


def test_the_dropped_rows_change_with_seed_and_epoch() -> None:
    def kept(seed: int, epoch: int) -> frozenset[int]:
        ranges = [shard([103], rank, 10, equal=True, seed=seed, epoch=epoch) for rank in range(10)]
        return frozenset(row for part in ranges for row in rows(part, [103]))

    assert len({kept(0, epoch) for epoch in range(20)}) > 5
    assert len({kept(seed, 0) for seed in range(20)}) > 5
    assert kept(1, 2) == kept(1, 2)


def test_borders_follow_row_groups_where_the_balance_allows() -> None:
    near = [1000, 1005, 995, 1000]
    assert [len(shard(near, rank, 2)) for rank in range(2)] == [2, 2]
    assert [shard(near, rank, 4) for rank in range(4)] == [[RowRange(g, 0, near[g])] for g in range(4)]
    far = [1000, 100]
    assert shard(far, 0, 2) == [RowRange(0, 0, 550)]
    assert shard(far, 1, 2) == [RowRange(0, 550, 1000), RowRange(1, 0, 100)]


def test_one_rank_has_everything() -> None:
    assert shard([3, 0, 2], 0, 1) == everything([3, 0, 2]) == [RowRange(0, 0, 3), RowRange(2, 0, 2)]


def test_a_rank_outside_the_gang_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 2"):
        shard([10], 2, 2)
