"""Namespaces that are read one by one, and what a change of their labels wakes."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.cluster.errors import NotFound, Refused
from mlpools_operator.controller.feed import Feed
from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.namespaces import NamespaceReader
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Store
from tests.support import objects as make


class House:
    """Two namespaces that are served, and an API server that may refuse to show them."""

    def __init__(self) -> None:
        self.store, self.queue = Store(), Queue()
        self.feed = Feed(self.store, Ledger(self.store, {}, lambda: 0.0), self.queue)
        self.there = {name: make.namespace(name, team=name) for name in ("a", "b")}
        self.refused = False
        self.reader = NamespaceReader(self, self.store, self.feed, ("a", "b"))  # type: ignore[arg-type]

    async def namespace(self, name: str) -> dict[str, Any]:
        if self.refused:
            raise Refused("namespaces is forbidden")
        if name not in self.there:
            raise NotFound("gone")
        return self.there[name]

    def known(self) -> dict[str, Any]:
        return {name: dict(labels) for name, labels in self.store.namespaces().items()}


@pytest.fixture
def house() -> House:
    return House()


async def test_the_namespaces_of_a_list_are_known_with_all_their_labels(house: House) -> None:
    await house.reader.look()
    assert house.known() == {"a": {"team": "a"}, "b": {"team": "b"}}
    house.there["a"] = make.namespace("a", version=2, team="z")
    del house.there["b"]
    await house.reader.look()
    assert house.known() == {"a": {"team": "z"}}


async def test_one_that_may_not_be_read_is_said_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.refused = True
    await house.reader.look()
    await house.reader.look()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"Namespace {name} cannot be read, so pools that choose by labels refuse its jobs: "
        "namespaces is forbidden"
        for name in ("a", "b")
    ]
    assert house.known() == {}


async def test_new_labels_wake_the_pools_that_choose_by_labels(house: House) -> None:
    for name, spec in {
        "all": {},
        "chosen": {"namespaces": {"matchLabels": {"team": "a"}}},
        "limited": {"queue": {"limits": [{"maxNodes": 1}]}},
    }.items():
        raw = make.pool(name, uid=name)
        house.feed.event("ComputePool", "ADDED", {**raw, "spec": {**raw["spec"], **spec}})
    while house.queue:
        house.queue.done(await house.queue.get())
    await house.reader.look()
    assert len(house.queue) == 2
    assert {(await house.queue.get()).name for _ in range(2)} == {"chosen", "limited"}
