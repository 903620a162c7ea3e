"""What the order of an epoch promises, for every number of ranks and workers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.blocks import whole
from mlpools.data.order import Deal, Draw, RankOrder, Reading
from mlpools.data.state import Position
from tests.support.ordered import rank_batches, worker_batches

groups = st.lists(st.integers(0, 60), min_size=1, max_size=12)
worlds = st.integers(1, 4)
readings = st.builds(
    Reading,
    batch_size=st.integers(1, 20),
    shuffle=st.booleans(),
    num_workers=st.integers(1, 4),
    drop_last=st.booleans(),
    window_rows=st.integers(0, 100),
    slice_rows=st.sampled_from([0, 4, 16]),
)


def orders(
    group_rows: list[int],
    reading: Reading,
    world: int = 1,
    *,
    equal: bool = False,
    seed: int = 0,
    epoch: int = 0,
) -> list[RankOrder]:
    return [
        Position("", seed, epoch, rank, world, equal, reading, {}).order(whole(group_rows))
        for rank in range(world)
    ]


def handed_out(order: RankOrder, group_rows: list[int]) -> np.ndarray:
    """Return the numbers of the rows, worker after worker, by arithmetic alone."""
    starts = np.cumsum([0, *group_rows])
    found = []
    for worker in range(order.reading.num_workers):
        for window, _ in order.windows(worker):
            rows = np.concatenate([starts[block.group] + np.asarray(block.rows) for block in window.blocks])
            found += [rows[positions] for positions in window.chunks()]
    return np.concatenate(found)


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


@settings(deadline=None, max_examples=40)
@given(groups, readings, worlds, st.integers(0, 9))
def test_every_row_comes_exactly_once_for_any_ranks_and_workers(
    group_rows: list[int], reading: Reading, world: int, seed: int
) -> None:
    every = Reading(**{**reading.__dict__, "drop_last": False})
    rows = [
        row
        for order in orders(group_rows, every, world, seed=seed)
        for row in flat(rank_batches(order, group_rows))
    ]
    assert sorted(rows) == list(range(sum(group_rows)))


@settings(deadline=None, max_examples=40)
@given(groups, readings, worlds)
def test_only_the_last_batch_of_a_rank_is_short_and_it_comes_last(
    group_rows: list[int], reading: Reading, world: int
) -> None:
    for order in orders(group_rows, reading, world):
        batches = rank_batches(order, group_rows)
        assert all(len(batch) == reading.batch_size for batch in batches[:-1])
        assert len(batches) == order.batches
        assert not batches or 0 < len(batches[-1]) <= reading.batch_size
        if reading.drop_last:
            assert all(len(batch) == reading.batch_size for batch in batches)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_of_a_rank_do_not_depend_on_workers(shuffle: bool) -> None:
    counts = {
        workers: len(rank_batches(orders([1300], Reading(100, shuffle, workers, window_rows=300))[0], [1300]))
        for workers in (1, 2, 3, 4)
    }
    assert set(counts.values()) == {13}


@settings(deadline=None, max_examples=40)
@given(groups, readings, worlds, st.integers(0, 3))
def test_equal_ranks_have_equally_many_batches(
    group_rows: list[int], reading: Reading, world: int, epoch: int
) -> None:
    per_rank = [
        rank_batches(order, group_rows)
        for order in orders(group_rows, reading, world, equal=True, epoch=epoch)
    ]
    assert len({tuple(len(batch) for batch in batches) for batches in per_rank}) == 1
    rows = [row for batches in per_rank for row in flat(batches)]
    assert len(rows) == len(set(rows))
    share, size = sum(group_rows) // world, reading.batch_size
    assert len(rows) == world * (share // size * size if reading.drop_last else share)


@settings(deadline=None, max_examples=40)
@given(groups, readings, worlds, st.integers(0, 2**70), st.integers(0, 3))
def test_the_same_seed_epoch_ranks_and_workers_give_the_same_order(
    group_rows: list[int], reading: Reading, world: int, seed: int, epoch: int
) -> None:
    first, second = (
        [
            rank_batches(order, group_rows)
            for order in orders(group_rows, reading, world, seed=seed, epoch=epoch)
        ]
        for _ in range(2)
    )
    assert first == second


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    reading = Reading(10, shuffle=True, window_rows=40)
    seen = {
        tuple(flat(rank_batches(orders([50] * 6, reading, seed=seed, epoch=epoch)[0], [50] * 6)))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(seen) == 9


@settings(deadline=None, max_examples=40)
@given(groups, st.integers(1, 20), worlds)
def test_without_shuffle_the_order_is_that_of_the_data(
    group_rows: list[int], batch_size: int, world: int
) -> None:
    rows = [
        row
        for order in orders(group_rows, Reading(batch_size), world)
        for row in flat(rank_batches(order, group_rows))
    ]
    assert rows == list(range(sum(group_rows)))


@settings(deadline=None, max_examples=40)
@given(groups, readings)
def test_a_worker_never_holds_more_rows_than_its_window(group_rows: list[int], reading: Reading) -> None:
    order = orders(group_rows, dataclasses.replace(reading, shuffle=True))[0]
    bound = max(reading.window_rows, reading.batch_size) + reading.batch_size
    for worker in range(reading.num_workers):
        assert all(window.num_rows <= bound for window, _ in order.windows(worker))


@settings(deadline=None, max_examples=40)
@given(groups, readings, st.data())
def test_a_worker_goes_on_at_any_batch(group_rows: list[int], reading: Reading, data: st.DataObject) -> None:
    order = orders(group_rows, reading)[0]
    worker = data.draw(st.integers(0, reading.num_workers - 1))
    first = data.draw(st.integers(0, order.batches_of(worker)))
    assert worker_batches(order, group_rows, worker)[first:] == worker_batches(
        order, group_rows, worker, first
    )


def test_one_window_is_a_fair_shuffle() -> None:
    """Each row is equally likely everywhere: the chi-square of (row, place) counts is that of chance."""
    rows, epochs = 24, 600
    counts = np.zeros((rows, rows))
    for epoch in range(epochs):
        order = orders([rows], Reading(4, shuffle=True, window_rows=rows), epoch=epoch)[0]
        counts[np.arange(rows), handed_out(order, [rows])] += 1
    expected, freedom = epochs / rows, (rows - 1) ** 2
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("share", [0.5, 0.13])
def test_batches_of_sorted_data_are_like_random_draws(workers: int, share: float) -> None:
    """64 row groups of 60,000 rows sorted by label; windows of 350,000 rows are far below 256 MB."""
    group_rows = [60_000] * 64
    reading = Reading(8192, True, workers, True, window_rows=350_000, slice_rows=1024)
    rows = handed_out(orders(group_rows, reading)[0], group_rows)
    batches = rows.reshape(-1, 8192) < sum(group_rows) * share
    assert len(batches) == 468
    assert np.abs(batches.mean(axis=1) - share).max() < 5 * math.sqrt(share * (1 - share) / 8192)


def test_batches_of_all_ranks_together_are_like_random_draws() -> None:
    """A rank has row groups of its own; what one optimiser step sees is the batches of all ranks."""
    group_rows, share = [60_000] * 64, 0.5
    reading = Reading(2048, True, 1, True, window_rows=350_000, slice_rows=1024)
    ranks = [handed_out(order, group_rows) for order in orders(group_rows, reading, 4, equal=True)]
    steps = np.concatenate([rows.reshape(-1, 2048) for rows in ranks], axis=1) < sum(group_rows) * share
    assert np.abs(steps.mean(axis=1) - share).max() < 5 * math.sqrt(share * (1 - share) / 8192)


def test_row_groups_are_dealt_to_ranks_anew_each_epoch() -> None:
    def owned(epoch: int) -> frozenset[int]:
        deal = Deal(whole([10] * 32), 2, Draw(0, epoch), shuffle=True, equal=False)
        return frozenset(block.group for block in deal.share(0))

    assert len({owned(epoch) for epoch in range(8)}) == 8


@settings(deadline=None, max_examples=40)
@given(groups, worlds, st.booleans())
def test_at_most_two_row_groups_of_a_rank_are_read_twice(
    group_rows: list[int], world: int, shuffle: bool
) -> None:
    deal = Deal(whole(group_rows), world, Draw(0, 0), shuffle=shuffle, equal=False)
    for rank in range(world):
        share = deal.share(rank)
        assert sum(len(block.rows) < group_rows[block.group] for block in share) <= 2
