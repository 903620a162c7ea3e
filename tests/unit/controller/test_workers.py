"""What each kind of error means for the object at which it happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from mlpools_operator.cluster.errors import ClusterError, Conflict, Fenced, NotFound, Refused, Transient
from mlpools_operator.controller.health import Health
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Key
from mlpools_operator.controller.workers import Workers
from mlpools_operator.metrics import Metrics
from tests.support.waiting import PATIENCE

KEY, OTHER = Key("TrainingJob", "team", "job"), Key("TrainingJob", "team", "other")

Pass = Callable[[Key], Awaitable[float | None]]


class Shift:
    """Workers over a queue, for as long as a test wants."""

    def __init__(self) -> None:
        self.queue, self.metrics = Queue(), Metrics()
        self.done: list[Key] = []

    async def until(self, passes: int, pass_over: Pass, workers: int = 2) -> None:
        enough = asyncio.Event()

        async def noted(key: Key) -> float | None:
            try:
                return await pass_over(key)
            finally:
                self.done.append(key)
                if len(self.done) >= passes:
                    enough.set()

        health = Health(lambda: len(self.queue), lambda: 0.0)
        running = asyncio.create_task(Workers(self.queue, noted, health, self.metrics).run(workers))
        await asyncio.wait_for(enough.wait(), PATIENCE)
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
def shift() -> Shift:
    return Shift()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Conflict("changed"), None),
        (NotFound("gone"), None),
        (Fenced("not sent"), None),
        (Transient("overloaded"), "overloaded"),
        (Refused("forbidden"), "forbidden"),
    ],
)
async def test_what_failed_is_looked_at_again(
    shift: Shift, caplog: pytest.LogCaptureFixture, error: ClusterError, said: str | None
) -> None:
    caplog.set_level(logging.DEBUG)
    left = [error]

    async def once(key: Key) -> None:
        if left:
            raise left.pop()

    shift.queue.add(KEY)
    await shift.until(2, once)
    assert shift.done == [KEY, KEY]
    assert [said for said in (said,) if said] == [
        record.getMessage().rpartition(": ")[2] for record in caplog.records
    ]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_defect_is_told_with_its_trace_and_stops_nobody_else(
    shift: Shift, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(key: Key) -> None:
        if key == KEY:
            raise ZeroDivisionError

    shift.queue.add(KEY)
    shift.queue.add(OTHER)
    await shift.until(3, broken)
    assert OTHER in shift.done
    assert shift.done.count(KEY) >= 1
    assert any(record.exc_info for record in caplog.records)


async def test_a_pass_may_ask_for_another_look(shift: Shift) -> None:
    async def again(key: Key) -> float | None:
        return 0.001 if len(shift.done) < 2 else None

    shift.queue.add(KEY)
    await shift.until(3, again)
    assert shift.done == [KEY] * 3


async def test_many_objects_are_worked_on_at_once_and_none_twice(shift: Shift) -> None:
    at_work: set[Key] = set()
    most = 0

    async def slow(key: Key) -> None:
        nonlocal most
        assert key not in at_work
        at_work.add(key)
        most = max(most, len(at_work))
        shift.queue.add(key) if len(shift.done) < 20 else None
        await asyncio.sleep(0.001)
        at_work.discard(key)

    for name in "abcdef":
        shift.queue.add(Key("TrainingJob", "team", name))
    await shift.until(20, slow, workers=4)
    assert most == 4


async def test_outcomes_are_counted(shift: Shift) -> None:
    async def good(key: Key) -> None:
        return None

    shift.queue.add(KEY)
    await shift.until(1, good)
    assert b'mlpools_passes_total{kind="TrainingJob",outcome="done"} 1.0' in shift.metrics.text()
