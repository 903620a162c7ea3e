from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mlpools.contract.reports import Report
from mlpools_operator.controller import unheard
from mlpools_operator.controller.probe import Probe, checked, interval
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.read import entry
from mlpools_operator.controller.store import Key, Store
from mlpools_operator.domain.observed import Unheard
from mlpools_operator.metrics import Metrics
from tests.support import objects as make
from tests.support.waiting import PATIENCE

JOB = Key("TrainingJob", "team", "job")


class Gang:
    """A running job whose rank 0 answers what a test wants."""

    def __init__(self) -> None:
        self.store, self.queue, self.metrics = Store(), Queue(), Metrics()
        self.now = 100.0
        self.answer: Any = Report("Working", step=1).to_json()
        self.asked = 0
        self.answering: Callable[[], Awaitable[None]] | None = None
        self.put("TrainingJob", make.job())
        self.pod(phase="Running", podIP="127.0.0.1")

    def put(self, kind: str, raw: dict[str, Any]) -> None:
        self.store.put(kind, entry(kind, raw))

    def pod(self, version: int = 1, **status: Any) -> None:
        self.put("Pod", make.pod("p", version, **status))

    def report(self, **fields: Any) -> None:
        self.answer = Report(**{"phase": "Working", "attempt": 1, **fields}).to_json()

    @asynccontextmanager
    async def probe(self, patience: aiohttp.ClientTimeout | None = None) -> AsyncIterator[Rounds]:
        async def status(_: web.Request) -> web.Response:
            self.asked += 1
            if self.answering:
                await self.answering()
            if isinstance(self.answer, int):
                return web.Response(status=self.answer)
            return web.Response(text=self.answer)

        app = web.Application()
        app.router.add_get("/status", status)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        probe = Probe(
            self.store, self.queue, self.metrics, progress_seconds=10, clock=lambda: self.now, port=port
        )
        try:
            async with aiohttp.ClientSession(timeout=patience or aiohttp.ClientTimeout()) as session:
                yield Rounds(probe, session)
        finally:
            await runner.cleanup()

    async def handed(self) -> bool:
        """Whether the job was queued; it is taken off the queue."""
        if not len(self.queue):
            return False
        key = await self.queue.get()
        self.queue.done(key)
        assert key == JOB
        return True


class Rounds:
    def __init__(self, probe: Probe, session: aiohttp.ClientSession) -> None:
        self.probe, self._session = probe, session

    async def round(self) -> Report | None:
        await self.probe.round(self._session)
        return self.probe.report("job")


@pytest.fixture
def gang() -> Gang:
    return Gang()


async def test_the_first_report_is_handed_on_at_once(gang: Gang) -> None:
    async with gang.probe() as probe:
        report = await probe.round()
    assert report is not None
    assert report.step == 1
    assert await gang.handed()


async def test_later_ones_are_handed_on_now_and_then(gang: Gang) -> None:
    async with gang.probe() as probe:
        await probe.round()
        await gang.handed()
        gang.report(step=2)
        gang.now += 9
        assert (await probe.round() or Report("")).step == 1
        assert not await gang.handed()
        gang.now += 1
        assert (await probe.round() or Report("")).step == 2
        assert await gang.handed()


async def test_the_same_again_is_no_news(gang: Gang) -> None:
    async with gang.probe() as probe:
        await probe.round()
        await gang.handed()
        gang.now += 60
        gang.report(step=1, age_seconds=60.0, eta_seconds=3.0)
        await probe.round()
        assert not await gang.handed()


@pytest.mark.parametrize(
    "answer",
    [
        500,
        "",
        "no json",
        "[]",
        "{}",
        json.dumps({"phase": 3}),
        json.dumps({"phase": "Working", "step": "many"}),
        json.dumps({"phase": "Working", "metrics": []}),
        '{"phase": "Working", "etaSeconds": NaN}',
        "x" * 100_000,
    ],
)
async def test_an_answer_that_is_no_report_does_no_harm(gang: Gang, answer: Any) -> None:
    async with gang.probe() as probe:
        await probe.round()
        await gang.handed()
        gang.answer, gang.now = answer, gang.now + 60
        assert (await probe.round() or Report("")).step == 1
        assert not await gang.handed()


async def test_nobody_at_home_does_no_harm(gang: Gang) -> None:
    gang.pod(2, phase="Running", podIP="127.255.255.254")
    async with gang.probe() as probe:
        assert await probe.round() is None


async def test_a_job_that_never_answers_is_told_of_once_that_is_sure(gang: Gang) -> None:
    gang.pod(2, phase="Running", podIP="127.255.255.254")
    async with gang.probe() as probe:
        await probe.round()
        gang.now += unheard.PATIENCE_SECONDS - 1
        await probe.round()
        assert (probe.probe.unheard("job"), await gang.handed()) == (None, False)
        gang.now += 1
        await probe.round()
        assert (probe.probe.unheard("job"), await gang.handed()) == (Unheard.REFUSED, True)
        await probe.round()
        assert not await gang.handed(), "the same again is no news"
        gang.pod(3, phase="Running", podIP="127.0.0.1")
        await probe.round()
        assert (probe.probe.unheard("job"), await gang.handed()) == (None, True)


async def test_another_answer_than_a_report_is_told_as_such(gang: Gang) -> None:
    gang.answer = "hello"
    async with gang.probe() as probe:
        await probe.round()
        gang.now += unheard.PATIENCE_SECONDS
        await probe.round()
        assert probe.probe.unheard("job") is Unheard.UNREADABLE


async def test_a_job_that_has_answered_before_is_not_unheard(gang: Gang) -> None:
    async with gang.probe() as probe:
        await probe.round()
        await gang.handed()
        gang.answer = 500
        for _ in range(2):
            gang.now += unheard.PATIENCE_SECONDS
            await probe.round()
        assert (probe.probe.unheard("job"), await gang.handed()) == (None, False)


async def test_an_earlier_attempts_words_are_not_the_jobs(gang: Gang) -> None:
    gang.report(step=9, attempt=2)
    async with gang.probe() as probe:
        assert await probe.round() is None


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "Pending"},
        {"phase": "Succeeded", "podIP": "127.0.0.1"},
        {"phase": "Running"},
    ],
)
async def test_only_running_pods_are_asked(gang: Gang, change: dict[str, Any]) -> None:
    gang.pod(2, **change)
    async with gang.probe() as probe:
        await probe.round()
    assert gang.asked == 0


async def test_other_ranks_and_pods_without_a_job_are_not_asked(gang: Gang) -> None:
    gang.put("Pod", make.pod("r1", rank=1, phase="Running", podIP="127.0.0.1"))
    gang.put("Pod", make.pod("x", owner="unknown", phase="Running", podIP="127.0.0.1"))
    async with gang.probe() as probe:
        await probe.round()
    assert gang.asked == 1


async def test_the_last_report_is_kept_until_the_job_has_ended(gang: Gang) -> None:
    async with gang.probe() as probe:
        await probe.round()
        gang.pod(2, phase="Failed", podIP="127.0.0.1")
        assert await probe.round() is not None
        gang.put("TrainingJob", make.job(version=2, status={"completionTime": make.CREATED}))
        assert await probe.round() is None


async def test_memory_in_use_is_no_news_and_always_the_newest(gang: Gang) -> None:
    async with gang.probe() as probe:
        await probe.round()
        await gang.handed()
        gang.report(step=1, memory_bytes=5, memory_rank=3)
        report = await probe.round() or Report("")
        assert (report.memory_bytes, report.memory_rank) == (5, 3)
        assert not await gang.handed()


async def test_a_bounded_number_is_asked_at_a_time_and_a_slow_pod_delays_nobody(gang: Gang) -> None:
    for number in range(199):
        gang.put("TrainingJob", make.job(f"j{number}", f"u{number}"))
        gang.put("Pod", make.pod(f"p{number}", owner=f"u{number}", phase="Running", podIP="127.0.0.1"))
    others_answered = asyncio.Event()
    under_way = most = 0

    async def slow_first() -> None:
        nonlocal under_way, most
        number, under_way = gang.asked, under_way + 1
        most = max(most, under_way)
        if number == 1:
            await others_answered.wait()
        elif number == 200:
            others_answered.set()
        await asyncio.sleep(0)
        under_way -= 1

    gang.answering = slow_first
    async with gang.probe() as probe:
        await asyncio.wait_for(probe.round(), PATIENCE)
    assert gang.asked == 200
    assert 1 < most <= 32


async def test_a_pod_that_does_not_answer_in_time_is_left_alone_for_longer_and_longer(gang: Gang) -> None:
    late = asyncio.Event()

    async def too_late() -> None:
        await late.wait()

    gang.answering = too_late
    asked = []
    async with gang.probe(aiohttp.ClientTimeout(total=0.05)) as probe, aiohttp.ClientSession() as patient:
        for _ in range(80):
            before = unanswered(gang)
            await probe.round()
            if unanswered(gang) > before:
                asked.append(gang.now - 100)
            gang.now += 2
        assert asked == [0, 4, 12, 28, 60, 120]
        late.set()
        gang.now += 60
        await probe.probe.round(patient)
        before = gang.asked
        await probe.probe.round(patient)
        assert gang.asked == before + 1, "one that answers again is asked in every round"


def unanswered(gang: Gang) -> float:
    """How often it gave up waiting: what came of a question need not have reached the pod by then."""
    found = gang.metrics.registry.get_sample_value("mlpools_probes_total", {"outcome": "unanswered"})
    return found or 0.0


def test_what_a_status_could_not_hold_is_left_out() -> None:
    metrics = {f"m{number}": float(number) for number in range(40)}
    report = checked(Report("Working", metrics={"nan": float("nan"), **metrics}, message="x" * 2000))
    assert len(report.metrics) == 16
    assert "nan" not in report.metrics
    assert len(report.message) == 512


@pytest.mark.parametrize(("asked", "seconds"), [(0, 2.0), (200, 2.0), (1_000, 10.0)])
def test_many_jobs_are_asked_less_often(asked: int, seconds: float) -> None:
    assert interval(2.0, asked) == seconds


async def test_a_round_says_how_many_it_asked(gang: Gang) -> None:
    async with gang.probe() as probe:
        assert await probe.probe.round(probe._session) == 1
        gang.pod(2, phase="Succeeded")
        assert await probe.probe.round(probe._session) == 0
