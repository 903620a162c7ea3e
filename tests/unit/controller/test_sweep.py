from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mlpools_operator.cluster.errors import Expired, Transient
from mlpools_operator.cluster.objects import Listed, Listing
from mlpools_operator.cluster.scope import Scope
from mlpools_operator.controller.feed import Feed
from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Store
from mlpools_operator.controller.sweep import Sweeper
from mlpools_operator.metrics import Metrics
from tests.support import objects as make
from tests.support.waiting import PATIENCE


class Lists:
    """An API server that only lists; ``there`` is what exists, by kind and UID."""

    def __init__(self) -> None:
        self.there: dict[str, dict[str, Listed]] = {}
        self.version = 100
        self.asked: list[tuple[str, str]] = []
        self.errors: list[Exception] = []

    def add(self, kind: str, raw: dict[str, Any]) -> None:
        meta = raw["metadata"]
        listed = Listed(meta.get("namespace", ""), meta["name"], meta["uid"], meta["resourceVersion"])
        self.there.setdefault(kind, {})[meta["uid"]] = listed

    async def listing(self, kind: str, namespace: str = "") -> Listing:
        self.asked.append((kind, namespace))
        if self.errors:
            raise self.errors.pop()
        found = (it for it in self.there.get(kind, {}).values() if namespace in ("", it.namespace))
        return Listing(str(self.version), tuple(found))


class House:
    def __init__(self, *namespaces: str) -> None:
        self.lists, self.store, self.queue, self.metrics = Lists(), Store(), Queue(), Metrics()
        self.feed = Feed(self.store, Ledger(self.store, {}, lambda: 0.0), self.queue)
        self.sweeper = Sweeper(self.lists, self.store, self.feed, self.metrics, Scope(namespaces, "home"))  # type: ignore[arg-type]

    def see(self, kind: str, raw: dict[str, Any]) -> None:
        self.feed.event(kind, "ADDED", raw)

    def known(self, kind: str) -> set[str]:
        return {entry.meta.uid for _, entry in self.store.all(kind)}


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, seconds in (("_SYNC_SECONDS", 0.001), ("_RETRY_SECONDS", 0.001)):
        monkeypatch.setattr(f"mlpools_operator.controller.sweep.{name}", seconds)
    return None


async def test_what_no_list_has_is_forgotten(house: House) -> None:
    for uid in ("a", "b"):
        house.see("Pod", make.pod(uid, 50))
    house.lists.add("Pod", make.pod("b", 50))
    assert await house.sweeper.sweep("Pod") == 1
    assert house.known("Pod") == {"b"}
    assert b'mlpools_swept_objects_total{kind="Pod"} 1.0' in house.metrics.text()


async def test_what_is_newer_than_the_list_stays(house: House) -> None:
    house.see("Pod", make.pod("new", 101))
    house.see("Pod", make.pod("old", 100))
    await house.sweeper.sweep("Pod")
    assert house.known("Pod") == {"new"}


async def test_only_the_listed_namespaces_are_judged() -> None:
    house = House("team")
    elsewhere = make.pod("else", 50)
    elsewhere["metadata"]["namespace"] = "other"
    house.see("Pod", elsewhere)
    house.see("Pod", make.pod("here", 50))
    await house.sweeper.sweep("Pod")
    assert house.known("Pod") == {"else"}
    assert house.lists.asked == [("Pod", "team"), ("Pod", "home")]


async def test_cluster_scoped_kinds_are_listed_once() -> None:
    house = House("a", "b")
    await house.sweeper.sweep("ComputePool")
    assert house.lists.asked == [("ComputePool", "")]


async def test_a_list_that_expired_is_made_again(house: House) -> None:
    house.see("Pod", make.pod("gone", 50))
    house.lists.errors = [Expired("too old")]
    assert await house.sweeper.sweep("Pod") == 1


async def test_the_first_sync_ends_when_the_watches_have_brought_everything(house: House) -> None:
    house.lists.add("TrainingJob", make.job(version=50))
    house.lists.add("Pod", make.pod("p", 60))
    sync = asyncio.create_task(house.sweeper.first_sync())
    house.see("TrainingJob", make.job(version=50))
    house.see("Pod", make.pod("p", 59))  # an older version is not enough
    await asyncio.sleep(0.02)
    assert not sync.done()
    house.see("Pod", make.pod("p", 60))
    await asyncio.wait_for(sync, PATIENCE)


async def test_the_first_sync_does_not_wait_for_what_was_deleted_meanwhile(house: House) -> None:
    house.lists.add("Pod", make.pod("p", 50))
    sync = asyncio.create_task(house.sweeper.first_sync())
    await asyncio.sleep(0.005)
    house.lists.there.clear()
    await asyncio.wait_for(sync, PATIENCE)


async def test_the_first_sync_survives_errors(house: House) -> None:
    house.lists.errors = [Transient("down"), Transient("down")]
    await asyncio.wait_for(house.sweeper.first_sync(), PATIENCE)


async def test_catching_up_also_forgets_what_is_gone(house: House) -> None:
    house.see("Pod", make.pod("gone", 50))
    house.see("Pod", make.pod("there", 50))
    house.lists.add("Pod", make.pod("there", 50))
    await asyncio.wait_for(house.sweeper.catch_up(), PATIENCE)
    assert house.known("Pod") == {"there"}


async def test_catching_up_keeps_a_gap_that_it_may_have_missed(house: House) -> None:
    house.sweeper.gap("Pod")
    await asyncio.wait_for(house.sweeper.catch_up(), PATIENCE)
    house.lists.asked.clear()
    house.see("Pod", make.pod("gone", 50))
    running = asyncio.create_task(house.sweeper.run(3600))
    await until_forgotten(house)
    running.cancel()


async def until_forgotten(house: House) -> None:
    gone = asyncio.Event()
    house.store.subscribe(lambda change: gone.set() if change.after is None else None)
    await asyncio.wait_for(gone.wait(), PATIENCE)


@pytest.mark.parametrize("errors", [[], [Transient("down")]], ids=["at once", "after an error"])
async def test_a_gap_is_swept(house: House, errors: list[Exception]) -> None:
    house.see("Pod", make.pod("gone", 50))
    house.lists.errors = errors
    running = asyncio.create_task(house.sweeper.run(3600))
    house.sweeper.gap("Pod")
    await until_forgotten(house)
    assert {kind for kind, _ in house.lists.asked} == {"Pod"}
    running.cancel()


async def test_from_time_to_time_everything_is_swept(house: House) -> None:
    house.see("Pod", make.pod("gone", 50))
    running = asyncio.create_task(house.sweeper.run(0.01))
    await until_forgotten(house)
    running.cancel()
