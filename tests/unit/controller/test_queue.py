from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from mlpools_operator.controller.queue import LONGEST_DELAY, Queue
from mlpools_operator.controller.store import Key
from tests.support.waiting import PATIENCE


def key(name: str) -> Key:
    return Key("TrainingJob", "team", name)


A, B, C = key("a"), key("b"), key("c")


@pytest.fixture
def queue() -> Queue:
    return Queue(random.Random(1))


async def soon(queue: Queue) -> Key:
    return await asyncio.wait_for(queue.get(), PATIENCE)


async def test_many_adds_are_one_pass(queue: Queue) -> None:
    for _ in range(5):
        queue.add(A)
    assert await soon(queue) == A
    assert len(queue) == 0


async def test_keys_come_in_the_order_in_which_they_were_added(queue: Queue) -> None:
    for each in (B, A, C):
        queue.add(each)
    assert [await soon(queue) for _ in range(3)] == [B, A, C]


async def test_what_ends_is_served_before_what_starts(queue: Queue) -> None:
    queue.add(A)
    queue.add(B, urgent=True)
    queue.add(C)
    queue.add(C, urgent=True)  # it became urgent while it waited
    assert [await soon(queue) for _ in range(3)] == [B, C, A]


async def test_a_key_that_became_urgent_stays_urgent(queue: Queue) -> None:
    queue.add(A)
    queue.add(B, urgent=True)
    queue.add(B)
    assert await soon(queue) == B


async def test_no_key_is_worked_on_twice_at_a_time(queue: Queue) -> None:
    queue.add(A)
    assert await soon(queue) == A
    queue.add(A)
    queue.add(B)
    assert await soon(queue) == B
    assert len(queue) == 0, "A is not to be had while its worker has it"
    queue.done(A)
    assert await soon(queue) == A


async def test_urgency_is_kept_for_a_key_that_comes_back(queue: Queue) -> None:
    queue.add(A)
    await soon(queue)
    queue.add(A, urgent=True)
    queue.add(B)
    queue.done(A)
    assert await soon(queue) == A


async def test_a_worker_that_waits_gets_what_comes(queue: Queue) -> None:
    waiting = asyncio.create_task(soon(queue))
    await asyncio.sleep(0)
    queue.add(A)
    assert await waiting == A


async def test_a_scheduled_key_comes_by_itself(queue: Queue) -> None:
    queue.schedule(A, 0.01)
    assert len(queue) == 0
    assert await soon(queue) == A


async def test_the_last_schedule_counts(queue: Queue) -> None:
    queue.schedule(A, 0.001)
    queue.schedule(A, None)
    queue.schedule(B, 0.002)
    assert await soon(queue) == B
    assert len(queue) == 0


async def test_delays_grow_to_a_limit_and_are_forgiven(queue: Queue) -> None:
    delays = [queue.back_off(A) for _ in range(14)]
    assert delays[0] < 0.25
    assert all(later > earlier / 2 for earlier, later in itertools.pairwise(delays))
    assert LONGEST_DELAY / 2 <= delays[-1] <= LONGEST_DELAY
    queue.forgive(A)
    assert queue.back_off(A) < 0.25
    queue.schedule(A, None)


async def test_delays_of_several_keys_are_spread(queue: Queue) -> None:
    delays = {round(queue.back_off(key(str(number))), 6) for number in range(10)}
    assert len(delays) == 10
    for number in range(10):
        queue.schedule(key(str(number)), None)
