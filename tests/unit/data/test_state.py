"""After a stop, the rows that come are exactly those that did not come before it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.blocks import whole
from mlpools.data.order import Reading
from mlpools.data.state import Position, resume
from mlpools.errors import InvalidSpec
from tests.support.ordered import rank_batches, worker_batches

groups = st.lists(st.integers(0, 60), min_size=1, max_size=10)
readings = st.builds(
    Reading,
    batch_size=st.integers(1, 12),
    shuffle=st.booleans(),
    num_workers=st.integers(1, 3),
    drop_last=st.booleans(),
    window_rows=st.integers(0, 100),
    slice_rows=st.sampled_from([0, 4, 16]),
)
#: One stretch of an epoch: ranks, settings, equal shares, and how many steps come before the stop.
stretches = st.tuples(st.integers(1, 4), readings, st.booleans(), st.integers(0, 8))


def begin(rank: int, world: int, reading: Reading, *, equal: bool = False, data: str = "d") -> Position:
    return Position(data, 3, 1, rank, world, equal, reading, dict.fromkeys(range(reading.num_workers), 0))


def step(position: Position, group_rows: Sequence[int], steps: int) -> tuple[list[int], Position]:
    """Let a rank's loop take batches in turn from its workers; return the rows and where it stands."""
    order, rows, yielded = position.order(whole(group_rows)), [], dict(position.yielded)
    batches = [
        worker_batches(order, group_rows, worker, yielded[worker])
        for worker in range(position.reading.num_workers)
    ]
    taken = sum(yielded.values())
    for i in range(taken, min(order.batches, taken + steps)):
        worker = i % position.reading.num_workers
        rows += batches[worker].pop(0)
        yielded[worker] += 1
    return rows, dataclasses.replace(position, yielded=yielded)


def saved(positions: Sequence[Position]) -> list[dict[str, Any]]:
    """What is in a checkpoint: through JSON and back."""
    states: list[dict[str, Any]] = json.loads(json.dumps([position.to_state() for position in positions]))
    return states


@settings(deadline=None, max_examples=50)
@given(groups, st.lists(stretches, min_size=1, max_size=4), stretches)
def test_what_is_left_is_exactly_what_did_not_come(
    group_rows: list[int], stops: list[tuple[int, Reading, bool, int]], last: tuple[int, Reading, bool, int]
) -> None:
    seen: list[int] = []
    states: list[dict[str, Any]] = []
    for world, reading, equal, steps in stops:
        fresh = [begin(rank, world, reading, equal=equal) for rank in range(world)]
        ranks = [step(resume(states, one) if states else one, group_rows, steps) for one in fresh]
        seen += [row for rows, _ in ranks for row in rows]
        states = saved([position for _, position in ranks])
    assert len(seen) == len(set(seen))
    world, reading, _, _ = last
    reading = dataclasses.replace(reading, drop_last=False)
    rest = []
    for rank in range(world):
        position = resume(states, begin(rank, world, reading))
        assert resume(states, begin(rank, world, reading)) == position
        rest += step(position, group_rows, 10_000)[0]
    assert sorted(seen + rest) == list(range(sum(group_rows)))


@settings(deadline=None, max_examples=40)
@given(groups, readings, st.integers(1, 3), st.integers(0, 8))
def test_with_the_same_ranks_and_workers_the_order_goes_on(
    group_rows: list[int], reading: Reading, world: int, steps: int
) -> None:
    for rank in range(world):
        fresh = begin(rank, world, reading)
        before, position = step(fresh, group_rows, steps)
        after, _ = step(resume(saved([position]), fresh), group_rows, 10_000)
        assert before + after == [
            row for batch in rank_batches(fresh.order(whole(group_rows)), group_rows) for row in batch
        ]


def test_windows_are_those_of_the_state() -> None:
    position = begin(0, 1, Reading(4, True, window_rows=20))
    less_memory = begin(0, 1, Reading(4, True, window_rows=8))
    assert resume(saved([position]), less_memory).reading == position.reading


def test_a_worker_goes_on_with_its_own_state_alone() -> None:
    reading = Reading(4, True, num_workers=2)
    state = dataclasses.replace(begin(0, 2, reading), yielded={1: 3})
    assert resume(saved([state]), begin(0, 2, reading), alone=True).yielded == {1: 3}
    with pytest.raises(InvalidSpec, match="rank 0, worker 0 is missing"):
        resume(saved([state]), begin(0, 2, reading))


def test_states_of_all_ranks_are_needed_when_their_number_changes() -> None:
    states = saved([begin(0, 3, Reading(4)), begin(2, 3, Reading(4))])
    with pytest.raises(InvalidSpec, match="rank 1, worker 0 is missing"):
        resume(states, begin(0, 2, Reading(4)))


def test_states_that_do_not_belong_together_are_refused() -> None:
    reading = Reading(4)
    fresh = begin(0, 2, reading)
    with pytest.raises(InvalidSpec, match="saved with other data"):
        resume(saved([begin(0, 2, reading, data="other")]), fresh)
    with pytest.raises(InvalidSpec, match="saved with seed 3, and this order has seed 4"):
        resume(saved([fresh]), dataclasses.replace(fresh, seed=4))
    with pytest.raises(InvalidSpec, match="epoch of rank 0 and of rank 1 differ"):
        resume(saved([fresh, dataclasses.replace(begin(1, 2, reading), epoch=2)]), fresh)
    with pytest.raises(InvalidSpec, match="different loaders"):
        resume(saved([fresh, begin(0, 2, Reading(5))]), fresh)
    with pytest.raises(InvalidSpec, match="did not return"):
        resume([{"epoch": 1}], fresh)
