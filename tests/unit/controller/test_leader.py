from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from mlpools_operator.cluster.errors import AlreadyExists, Conflict, Transient
from mlpools_operator.controller.leader import Candidate, LeadershipLostError, Unopposed
from mlpools_operator.domain.leadership import Lease, Terms
from tests.support.waiting import PATIENCE

QUICK = Terms(retry_seconds=0.002)


class Leases:
    """The Lease in memory.

    Attributes:
        down: no request is answered.
        unheard: the next write is carried out, and its answer is lost.
    """

    place = "mlpools-system/mlpools-operator"

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.requests = 0
        self.down = self.unheard = False

    def put(self, holder: str) -> None:
        """Somebody else writes."""
        number = int(self.lease.version) + 1 if self.lease else 1
        self.lease = Lease(holder, 15, 0, "then", "then", str(number))

    async def read(self) -> Lease | None:
        self._ask()
        return self.lease

    async def write(self, lease: Lease) -> Lease:
        self._ask()
        known = self.lease.version if self.lease else ""
        if known != lease.version:
            raise Conflict("changed") if lease.version else AlreadyExists("there is one")
        self.lease = replace(lease, version=str(int(known or 0) + 1))
        if self.unheard:
            self.unheard = False
            raise Transient("no answer")
        return self.lease

    def _ask(self) -> None:
        self.requests += 1
        if self.down:
            raise Transient("down")


class Stage:
    """A candidate, its lease, and the time that both go by."""

    def __init__(self) -> None:
        self.leases, self.now = Leases(), 1000.0
        self.tasks: list[asyncio.Task[None]] = []
        self.candidate = self.another("me")

    def another(self, identity: str) -> Candidate:
        return Candidate(
            self.leases,  # type: ignore[arg-type]
            identity,
            terms=QUICK,
            clock=lambda: self.now,
            wall_clock=lambda: self.now,
            jitter=random.Random(0),
        )

    def start(self, candidate: Candidate | None = None) -> asyncio.Task[None]:
        task = asyncio.create_task((candidate or self.candidate).run())
        self.tasks.append(task)
        return task

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not there():  # noqa: ASYNC110 - a condition of plain objects
                await asyncio.sleep(0.001)

    async def requests(self, number: int = 4) -> None:
        """Let it make some more requests."""
        wanted = self.leases.requests + number
        await self.until(lambda: self.leases.requests >= wanted)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    for task in stage.tasks:
        task.cancel()
    await asyncio.gather(*stage.tasks, return_exceptions=True)


async def leading(stage: Stage) -> asyncio.Task[None]:
    task = stage.start()
    await asyncio.wait_for(stage.candidate.elected(), PATIENCE)
    return task


async def test_the_first_one_leads_with_two_requests(stage: Stage) -> None:
    assert not stage.candidate.may_write()
    await leading(stage)
    assert stage.candidate.may_write()
    assert stage.leases.requests == 2
    assert stage.leases.lease is not None
    assert (stage.leases.lease.holder, stage.leases.lease.renewed) == ("me", "1970-01-01T00:16:40.000000Z")


async def test_a_second_one_stands_by_until_the_lease_has_run_out(stage: Stage) -> None:
    stage.leases.put("other")
    stage.start()
    await stage.requests()
    stage.now += 14.9
    await stage.requests()
    assert not stage.candidate.may_write()
    stage.now += 0.1
    await asyncio.wait_for(stage.candidate.elected(), PATIENCE)
    assert stage.leases.lease is not None
    assert (stage.leases.lease.holder, stage.leases.lease.transitions) == ("me", 1)


async def test_a_standby_outlives_an_api_server_that_is_down(stage: Stage) -> None:
    stage.leases.down = True
    stage.start()
    await stage.requests()
    stage.now += 3600
    stage.leases.down = False
    await asyncio.wait_for(stage.candidate.elected(), PATIENCE)


async def test_renewals_keep_it(stage: Stage) -> None:
    await leading(stage)
    for _ in range(5):
        stage.now += 9.0
        assert stage.candidate.may_write()
        await stage.requests(2)
    assert stage.candidate.may_write()


async def test_without_renewals_writes_end_and_then_the_process(stage: Stage) -> None:
    task = await leading(stage)
    stage.leases.down = True
    stage.now += 9.9
    await stage.requests()
    assert stage.candidate.may_write()
    stage.now += 0.1
    assert not stage.candidate.may_write()
    with pytest.raises(LeadershipLostError, match=r"mlpools-operator: no renewal was accepted for 10 s\."):
        await asyncio.wait_for(task, PATIENCE)


async def test_one_that_was_stopped_asks_for_nothing_any_more(stage: Stage) -> None:
    task = await leading(stage)
    requests, before = stage.leases.requests, stage.leases.lease
    stage.now += 60.0
    with pytest.raises(LeadershipLostError):
        await asyncio.wait_for(task, PATIENCE)
    assert (stage.leases.requests, stage.leases.lease) == (requests, before)


async def test_who_took_it_is_named(stage: Stage) -> None:
    task = await leading(stage)
    stage.leases.put("other")
    with pytest.raises(LeadershipLostError, match=r"mlpools-operator: other has it\."):
        await asyncio.wait_for(task, PATIENCE)
    assert not stage.candidate.may_write()


async def test_a_lost_answer_costs_nothing(stage: Stage) -> None:
    await leading(stage)
    stage.leases.unheard = True
    await stage.until(lambda: not stage.leases.unheard)
    stage.now += 5.0
    await stage.requests(4)
    stage.now += 5.0
    assert stage.candidate.may_write()


async def test_a_released_lease_is_anybodys(stage: Stage) -> None:
    task = await leading(stage)
    second = stage.another("second")
    stage.start(second)
    await stage.requests()
    task.cancel()
    await asyncio.wait([task])
    assert not second.may_write()
    await stage.candidate.release()
    await asyncio.wait_for(second.elected(), PATIENCE)


async def test_a_release_that_meets_a_renewal_under_way_is_tried_again(stage: Stage) -> None:
    task = await leading(stage)
    task.cancel()
    await asyncio.wait([task])
    stage.leases.put("me")
    await stage.candidate.release()
    assert stage.leases.lease is not None
    assert stage.leases.lease.holder == ""


async def test_what_is_not_ones_own_is_not_released(stage: Stage) -> None:
    task = await leading(stage)
    stage.leases.put("other")
    await asyncio.wait([task])
    before = stage.leases.lease
    await stage.candidate.release()
    assert stage.leases.lease == before


async def test_a_release_that_fails_does_not_keep_the_process(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    task = await leading(stage)
    task.cancel()
    await asyncio.wait([task])
    stage.leases.down = True
    await stage.candidate.release()
    assert "could not be given back" in caplog.text


async def test_who_is_alone_leads_always() -> None:
    alone = Unopposed()
    await alone.elected()
    assert alone.may_write()
