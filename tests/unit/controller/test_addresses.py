"""Addresses of names: followed while anybody asks for them, and never lost to a silent DNS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import pytest

from mlpools_operator.cluster.errors import Transient
from mlpools_operator.controller import addresses
from mlpools_operator.controller.addresses import KEEP_SECONDS, Addresses
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Key, Store
from mlpools_operator.domain.observed import Meta, Resource
from mlpools_operator.domain.pods.egress import Answer, Target
from tests.support.api_server import Clock

ALICE, BOB = (Key("NotebookRuntime", "team-a", name) for name in ("alice", "bob"))
HOST, OTHER = "files.example.com", "pypi.org"


class Net:
    """DNS and the API server as they are at the moment, and who looks."""

    def __init__(self) -> None:
        self.dns: dict[str, Collection[str] | Exception] = {HOST: ["192.0.2.1"], OTHER: ["192.0.2.9"]}
        self.api: list[tuple[str, int]] | Exception = [("10.0.0.7", 6443)]
        self.asked: list[str] = []
        self.clock, self.store, self.queue = Clock(), Store(), Queue()
        self.addresses = Addresses(
            self.store,
            self.queue,
            self.clock,
            api_server=self.api_server,
            nameservers=["10.96.0.10"],
            lookup=self.lookup,
        )

    async def lookup(self, name: str) -> Collection[str]:
        self.asked.append(name)
        answer = self.dns[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def api_server(self) -> Collection[tuple[str, int]]:
        if isinstance(self.api, Exception):
            raise self.api
        return self.api

    async def answer(self, key: Key = ALICE, name: str = HOST) -> Answer:
        return (await self.addresses.known(key, [name])).answers[name]

    async def woken(self) -> set[Key]:
        await self.addresses.round()
        keys = set()
        while len(self.queue):
            key = await self.queue.get()
            self.queue.done(key)
            keys.add(key)
        return keys


def played(scenario: Callable[[Net], Awaitable[None]]) -> None:
    async def play() -> None:
        await scenario(Net())

    asyncio.run(play())


def test_a_name_is_looked_up_when_it_is_asked_for_first_and_then_in_rounds() -> None:
    async def scenario(net: Net) -> None:
        known = await net.addresses.known(ALICE, [HOST])
        assert known.answers == {HOST: Answer(("192.0.2.1",))}
        assert known.api == (Target("10.0.0.7", 6443),)
        assert known.nameservers == ("10.96.0.10",)
        await net.answer()
        await net.answer(BOB)
        assert net.asked == [HOST]
        assert await net.woken() == set()
        assert net.asked == [HOST, HOST]

    played(scenario)


def test_other_addresses_wake_who_asked_and_old_ones_count_for_some_minutes() -> None:
    async def scenario(net: Net) -> None:
        await net.answer()
        await net.answer(BOB, OTHER)
        net.dns[HOST] = ["192.0.2.2"]
        net.clock.advance(KEEP_SECONDS - 1)
        assert await net.woken() == {ALICE}
        assert (await net.answer()).addresses == ("192.0.2.1", "192.0.2.2")
        net.clock.advance(2)
        assert await net.woken() == {ALICE}
        assert (await net.answer()).addresses == ("192.0.2.2",)

    played(scenario)


@pytest.mark.parametrize(
    ("error", "said"), [(TimeoutError(), "does not answer"), (socket.gaierror(-2, "Unknown"), "Unknown")]
)
def test_a_silent_dns_takes_nothing_away_and_is_told(error: Exception, said: str) -> None:
    async def scenario(net: Net) -> None:
        await net.answer()
        net.dns[HOST] = error
        net.clock.advance(KEEP_SECONDS + 1)
        assert await net.woken() == {ALICE}
        answer = await net.answer()
        assert answer.addresses == ("192.0.2.1",)
        assert said in answer.trouble
        net.dns[HOST] = ["192.0.2.2"]
        assert await net.woken() == {ALICE}
        assert await net.answer() == Answer(("192.0.2.2",))

    played(scenario)


def test_what_nobody_asks_for_any_more_is_forgotten() -> None:
    async def scenario(net: Net) -> None:
        alice = Resource(Meta("alice", "uid", "team-a"), {})
        net.store.put(ALICE.kind, alice)
        await net.answer()
        net.store.remove(ALICE.kind, "uid")
        net.asked.clear()
        assert await net.woken() == set()
        await net.answer(BOB, OTHER)
        assert await net.woken() == set()
        assert HOST not in net.asked

    played(scenario)


def test_another_place_of_the_api_server_wakes_all_and_a_refusal_none() -> None:
    async def scenario(net: Net) -> None:
        await net.answer()
        net.api = Transient("away")
        assert await net.woken() == set()
        net.api = [("10.0.0.8", 6443)]
        assert await net.woken() == {ALICE}
        assert (await net.addresses.known(ALICE, [HOST])).api == (Target("10.0.0.8", 6443),)

    played(scenario)


def test_the_nameservers_are_those_of_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("search a\nnameserver 10.96.0.10\noptions ndots:5\nnameserver fe80::1%eth0\nnameserver\n")
    assert set(addresses.nameservers(file)) == {"10.96.0.10", "fe80::1"}
    assert not addresses.nameservers(tmp_path / "none")
