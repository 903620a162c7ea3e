"""Workers of one iteration agree on its epoch, however they were started and whoever asks first."""

from __future__ import annotations

import multiprocessing.context
import pickle
from pathlib import Path

import pytest

from mlpools.data.clock import Clock, SharedClock


@pytest.fixture(params=[Clock, SharedClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def spawned(clock: SharedClock) -> SharedClock:
    """Return the clock as a process has it that a loader spawns."""
    multiprocessing.context.set_spawning_popen(object())
    try:
        text = pickle.dumps(clock)
    finally:
        multiprocessing.context.set_spawning_popen(None)
    copy: SharedClock = pickle.loads(text)
    return copy


def test_each_iteration_is_the_next_epoch_unless_it_is_set(clock: Clock) -> None:
    assert [clock.take() for _ in range(2)] == [(0, False), (1, False)]
    clock.set(7)
    assert clock.peek() == (7, False)
    assert [clock.take()[0] for _ in range(2)] == [7, 8]


def test_a_loaded_state_is_used_once_and_only_in_its_epoch(clock: Clock) -> None:
    clock.set(3, resumes=True)
    clock.set(3)
    assert clock.take() == (3, True)
    assert clock.take() == (4, False)
    clock.set(3)
    assert clock.take() == (3, False)
    clock.set(3, resumes=True)
    clock.set(5)
    assert clock.take() == (5, False)


def test_workers_of_one_iteration_get_one_epoch() -> None:
    clock = SharedClock()
    workers = [spawned(clock) for _ in range(3)]
    assert [worker.take("a:1") for worker in workers] == [(0, False)] * 3
    # Two iterations at once, whose workers ask in any order.
    taken = [workers[i].take(key)[0] for i, key in enumerate(["b:1", "c:1", "b:1"])]
    assert taken == [1, 2, 1]
    assert spawned(clock).take("c:1")[0] == 2
    assert clock.elsewhere
    assert clock.take()[0] == 3
    assert not clock.elsewhere


def test_workers_that_load_their_own_states_count_on_from_there() -> None:
    workers = [spawned(clock := SharedClock())] * 2
    assert [worker.take("a:1", at=4) for worker in workers] == [(4, True), (4, True)]
    assert workers[0].take("a:2") == (5, False)
    assert clock.peek() == (6, False)


def test_a_copy_for_another_purpose_counts_by_itself() -> None:
    clock = SharedClock()
    clock.set(4)
    copy = pickle.loads(pickle.dumps(clock))
    assert copy.take()[0] == 4
    assert clock.take()[0] == 4


def test_its_file_goes_with_it() -> None:
    clock = SharedClock()
    path: Path = clock._path
    copy = spawned(clock)
    del copy
    assert path.exists()
    del clock
    assert not path.exists()
