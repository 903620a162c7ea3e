"""The accounts of the pools: read first, written seldom, and never over what somebody else wrote."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mlpools_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Invalid,
    NotFound,
    Transient,
)
from mlpools_operator.controller import usage as controller
from mlpools_operator.controller.usage import Usage
from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.domain.queue import usage_record
from mlpools_operator.domain.queue.usage import DAY, Account
from mlpools_operator.pool_metrics import PoolMetrics
from tests.support.api_server import Clock
from tests.support.domain_values import a_candidate

Json = dict[str, Any]
START = 20_000.0 * DAY


class ConfigMaps:
    """An API server that has ConfigMaps only.

    Attributes:
        writes: those that arrived.
        error: that the next write is answered with.
        arrives: whether that write is carried out all the same.
    """

    def __init__(self) -> None:
        self.there: dict[tuple[str, str], Json] = {}
        self.version = 100
        self.writes = 0
        self.error: ClusterError | None = None
        self.arrives = False

    async def config_map(self, namespace: str, name: str) -> Json:
        try:
            return self.there[namespace, name]
        except KeyError:
            raise NotFound("there is none") from None

    async def config_maps(self, namespace: str) -> list[Json]:
        return [raw for (space, _), raw in self.there.items() if space == namespace]

    async def delete_config_map(self, namespace: str, name: str, version: str) -> None:
        if self.there[namespace, name]["metadata"]["resourceVersion"] != version:
            raise Conflict("another version")
        del self.there[namespace, name]

    async def write_config_map(self, manifest: Json) -> Json:
        error, self.error = self.error, None
        if error and not self.arrives:
            raise error
        answer = self.store(manifest)
        if error:
            raise error
        return answer

    def store(self, manifest: Json) -> Json:
        metadata = manifest["metadata"]
        place = (metadata["namespace"], metadata["name"])
        version, known = metadata.get("resourceVersion"), self.there.get(place)
        if version is None and known:
            raise AlreadyExists("taken")
        if version is not None and known is None:
            raise NotFound("gone")
        if known and version != known["metadata"]["resourceVersion"]:
            raise Conflict("another version")
        self.version += 1
        self.writes += 1
        self.there[place] = {**manifest, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        return self.there[place]

    def edit(self, **data: str) -> None:
        """Somebody writes."""
        ((place, known),) = self.there.items()
        self.version += 1
        self.there[place] = {
            **known,
            "metadata": {**known["metadata"], "resourceVersion": str(self.version)},
            "data": {**known["data"], **data},
        }

    def account(self) -> Account:
        """What is written down of the only pool."""
        ((_, known),) = self.there.items()
        return usage_record.decode(known["data"])


class House:
    """One operator after the other over the same ConfigMaps."""

    def __init__(self) -> None:
        self.api, self.clock = ConfigMaps(), Clock(START)
        self.jobs: list[Candidate] = []
        self.start()

    def start(self) -> None:
        self.metrics = PoolMetrics()
        self.metrics.there = lambda: ("cpu",)
        self.usage = Usage(
            self.api,  # type: ignore[arg-type]
            lambda pool: self.jobs,
            "mlpools-system",
            self.metrics,
            self.clock,
        )

    def counted(self, name: str = "node_seconds", **labels: str) -> float:
        """What the metrics of this operator say."""
        registry = CollectorRegistry()
        registry.register(self.metrics)
        labels = labels or {"namespace": "team-a"}
        return registry.get_sample_value(f"mlpools_{name}_total", {"pool": "cpu", **labels}) or 0

    def hold(self, nodes: int, name: str = "a") -> None:
        self.jobs = [a_candidate(name, nodes, held=nodes, admitted=True, admitted_at=self.clock())]

    async def used(self) -> int:
        await self.usage.load("cpu")
        account = self.usage.charge("cpu", self.jobs)
        return sum(account.used.get("team-a", {}).values())

    async def write(self) -> None:
        await self.usage.load("cpu")
        await self.usage.write("cpu")


@pytest.fixture
def house() -> House:
    return House()


async def test_use_survives_a_crash_and_nothing_is_charged_twice(house: House) -> None:
    house.hold(2)
    await house.write()
    for _ in range(3):
        house.clock.advance(100)
        assert await house.used() == await house.used()
        house.start()
    assert await house.used() == 600
    assert house.api.writes == 1


async def test_use_is_for_everybody_to_read(house: House) -> None:
    house.hold(2)
    assert await house.used() == 0
    house.clock.advance(50)
    await house.write()
    ((place, written),) = house.api.there.items()
    assert place == ("mlpools-system", "mlpools-usage-cpu")
    assert written["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "mlpools",
        "mlpools.dev/pool": "cpu",
    }
    assert "ownerReferences" not in written["metadata"], "it outlives the pool"
    assert written["data"] == {
        "chargedUntil": "2024-10-04T00:00:50Z",
        "held": '{"team-a":{"uid-a/1":2}}',
        "nodeSeconds": '{"from":"2024-10-04","namespaces":{"team-a":[100]}}',
    }


async def test_an_idle_pool_costs_no_writes(house: House) -> None:
    await house.write()
    assert house.api.writes == 0, "nobody has used it yet"
    house.hold(1)
    await house.used()
    house.clock.advance(10)
    await house.write()
    house.jobs = []
    for _ in range(3):
        house.clock.advance(60)
        await house.write()
    assert house.api.writes == 2
    house.clock.advance(31 * DAY)
    await house.write()
    assert house.api.account().used == {}


async def test_who_finds_another_version_goes_on_from_that_one(house: House) -> None:
    house.hold(2)
    await house.used()
    house.clock.advance(100)
    await house.write()
    forgiven = usage_record.encode(Account(int(house.clock()), house.api.account().held))
    house.api.edit(nodeSeconds=forgiven["nodeSeconds"])
    house.clock.advance(60)
    await house.write()
    assert await house.used() == 120, "the administrator forgave the first 200"
    await house.write()
    assert house.api.account().used == {"team-a": {20_000: 120}}


@pytest.mark.parametrize("written", [False, True], ids=["first", "later"])
async def test_a_write_whose_answer_was_lost_is_recognised(house: House, written: bool) -> None:
    house.hold(2)
    if written:
        await house.write()
    await house.used()
    house.clock.advance(50)
    house.api.error, house.api.arrives = Transient("no answer"), True
    with pytest.raises(Transient):
        await house.write()
    house.clock.advance(20)
    await house.used()
    house.jobs = []  # ended 70 s after its start; the ConfigMap says that it held nodes after 50 s
    await house.used()
    await house.write()
    await house.write()
    assert house.api.account().used == {"team-a": {20_000: 140}}


async def test_a_deleted_account_is_written_anew(house: House) -> None:
    house.hold(2)
    await house.used()
    house.clock.advance(50)
    await house.write()
    house.api.there.clear()
    house.clock.advance(50)
    await house.write()
    await house.write()
    assert house.api.account().used == {"team-a": {20_000: 200}}


async def test_an_unreadable_account_is_left_alone_until_it_is_corrected(house: House) -> None:
    house.hold(2)
    await house.used()
    house.clock.advance(50)
    await house.write()
    good = house.api.account()
    house.api.edit(held="nobody")
    house.start()
    await house.write()
    assert "its held cannot be read" in house.usage.unreadable("cpu")
    assert house.api.writes == 1
    house.api.edit(held=usage_record.encode(good)["held"])
    await house.write()
    assert house.usage.unreadable("cpu") == ""
    house.clock.advance(50)
    assert await house.used() == 200


async def test_an_account_that_could_not_be_had_is_asked_for_again(house: House) -> None:
    house.api.config_map, answer = fails, house.api.config_map  # type: ignore[method-assign]
    with pytest.raises(Transient):
        await house.usage.load("cpu")
    house.api.config_map = answer  # type: ignore[method-assign]
    await house.usage.load("cpu")


async def fails(namespace: str, name: str) -> Json:
    raise Transient("down")


async def test_more_than_a_config_map_takes_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller.usage_record, "MAX_BYTES", 10)
    house.hold(1)
    with pytest.raises(Invalid, match="0 namespaces and 1 running attempts are more than a ConfigMap takes"):
        await house.write()


async def test_operators_count_together_what_the_account_has(house: House) -> None:
    """However often one follows the other: what one counted is stored, so the next one does not count it."""
    house.hold(2)
    await house.write()
    total = 0.0
    for seconds in (60, 40, 7):
        house.clock.advance(seconds)
        await house.write()
        house.clock.advance(20)
        await house.used()
        total += house.counted()
        house.start()
    house.clock.advance(5)
    await house.write()
    assert total + house.counted() == await house.used() == 2 * (60 + 20 + 40 + 20 + 7 + 20 + 5)


@pytest.mark.parametrize("arrives", [False, True])
async def test_a_write_whose_answer_is_lost_is_counted_once(house: House, arrives: bool) -> None:
    house.hold(2)
    await house.write()
    house.clock.advance(10)
    house.api.error, house.api.arrives = Transient("no answer"), arrives
    with pytest.raises(Transient):
        await house.write()
    assert house.counted() == 0
    for _ in range(3):
        house.clock.advance(10)
        await house.write()
    assert house.counted() == await house.used() == 80


async def test_what_somebody_else_wrote_is_not_counted_here(house: House) -> None:
    house.hold(2)
    await house.write()
    other = usage_record.encode(Account(int(START), {}, {"team-a": {20_000: 5000}}))
    house.api.edit(**other)
    house.clock.advance(10)
    for _ in range(2):
        await house.write()
    assert await house.used() >= 5000
    assert house.counted() < 100


async def test_tries_are_counted_by_outcome(house: House) -> None:
    house.hold(1)
    await house.usage.load("cpu")
    house.api.error = Transient("no answer")
    running = asyncio.create_task(house.usage.run(0, list))
    for _ in range(200):
        await asyncio.sleep(0)
    running.cancel()
    assert house.counted("usage_writes", outcome="written") > 0
    assert house.counted("usage_writes", outcome="failed") == 1


async def test_what_was_used_since_the_last_write_is_written_at_the_end(house: House) -> None:
    house.hold(2)
    await house.write()
    house.clock.advance(40)
    await house.usage.flush(1.0)
    assert sum(house.api.account().used["team-a"].values()) == 80
    assert house.counted() == 80, "and counted, since no other operator will"


async def test_an_end_is_not_held_up_by_an_api_server_that_does_not_answer(house: House) -> None:
    house.hold(2)
    await house.write()
    house.clock.advance(40)

    async def never(manifest: Json) -> Json:
        await asyncio.Event().wait()
        raise AssertionError

    house.api.write_config_map = never  # type: ignore[method-assign]
    await house.usage.flush(0.01)


async def test_the_end_of_one_account_does_not_hinder_the_others(house: House) -> None:
    house.hold(2)
    await house.write()
    house.clock.advance(40)
    house.api.error = Transient("busy")
    await house.usage.flush(1.0)
    assert house.counted("usage_writes", outcome="failed") == 1


async def test_the_account_of_a_pool_that_is_gone_goes_when_its_last_day_counts_no_more(house: House) -> None:
    house.hold(2)
    await house.write()
    house.clock.advance(DAY)
    house.jobs = []
    await house.write()
    house.clock.advance(29 * DAY)
    await house.usage.sweep([])
    assert house.api.there, "its last day still counts"
    house.clock.advance(DAY)
    await house.usage.sweep(["cpu"])
    assert house.api.there, "its pool is there"
    await house.usage.sweep([])
    assert not house.api.there
    assert await house.used() == 0


async def test_an_account_stays_while_a_job_of_the_deleted_pool_holds_nodes(house: House) -> None:
    house.hold(2)
    await house.write()
    house.clock.advance(40 * DAY)
    house.start()
    await house.usage.sweep([])
    assert house.api.there


async def test_use_that_is_not_written_yet_keeps_an_account(house: House) -> None:
    house.hold(2)
    await house.write()
    house.clock.advance(40 * DAY)
    await house.used()
    house.jobs = []
    await house.usage.sweep([])
    assert house.api.there


async def test_an_account_that_cannot_be_read_is_not_tidied_up(house: House) -> None:
    house.hold(2)
    await house.write()
    house.api.edit(held="nonsense")
    house.clock.advance(40 * DAY)
    house.jobs = []
    house.start()
    await house.usage.sweep([])
    assert house.api.there


async def test_a_pool_that_is_made_again_goes_on_with_its_account(house: House) -> None:
    house.hold(2)
    await house.write()
    house.clock.advance(100)
    await house.write()
    house.jobs = []
    await house.usage.sweep([])
    house.start()
    assert await house.used() == 200
