"""Addresses of names: looked up here, since a NetworkPolicy knows addresses only.

An answer of DNS is one of many: a name with more hosts than fit into one changes from time to time, and a pod
may go on with what it asked a minute ago. So what a name had in the last minutes counts together.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path

from mlpools_operator import logs
from mlpools_operator.cluster.errors import ClusterError
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Change, Key, Store
from mlpools_operator.domain.pods.egress import Answer, Known, Target

#: For so long an address counts after it was last heard of.
KEEP_SECONDS = 600.0
_MOST_ADDRESSES = 128
_TIMEOUT_SECONDS = 5.0
_RESOLV_CONF = Path("/etc/resolv.conf")

#: Returns the addresses of a name; raises OSError.
Lookup = Callable[[str], Awaitable[Collection[str]]]


class Addresses:
    """Looks names up for whoever asked for them once, and wakes them when an answer changes."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        clock: Callable[[], float],
        *,
        api_server: Callable[[], Awaitable[Collection[tuple[str, int]]]],
        nameservers: Collection[str],
        lookup: Lookup | None = None,
    ) -> None:
        """Know nothing yet.

        Args:
            store: tells who is gone.
            queue: where those go whose names have other addresses now.
            clock: seconds since the epoch.
            api_server: returns where the API server is; raises ClusterError.
            nameservers: addresses of the cluster's DNS.
            lookup: returns the addresses of a name; by default this machine's way to do that.
        """
        self._queue, self._clock, self._api_server = queue, clock, api_server
        self._lookup = lookup or look_up
        self._nameservers = tuple(sorted(nameservers))
        self._wanted: dict[Key, frozenset[str]] = {}
        self._heard: dict[str, dict[str, float]] = {}
        self._answers: dict[str, Answer] = {}
        self._api: tuple[Target, ...] = ()
        store.subscribe(self._forget)

    async def known(self, key: Key, names: Iterable[str]) -> Known:
        """Return what somebody's names are at; those that nobody asked for yet are looked up now.

        Args:
            key: who asks, and is woken when that changes.
            names: all that it asks for.
        """
        wanted = self._wanted[key] = frozenset(names)
        new = wanted - self._answers.keys()
        if wanted and not self._api:
            await self._look_for_api()
        await asyncio.gather(*map(self._look, new))
        return Known({name: self._answers[name] for name in sorted(wanted)}, self._api, self._nameservers)

    async def run(self, seconds: float) -> None:
        """Look everything up every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.round()

    async def round(self) -> None:
        """Look everything up once, and wake those for whom something is different."""
        if not self._wanted:
            return
        before, api = dict(self._answers), self._api
        await self._look_for_api()
        await asyncio.gather(*map(self._look, self._names()))
        changed = {name for name, answer in self._answers.items() if answer != before.get(name)}
        for key, names in self._wanted.items():
            if names & changed or api != self._api:
                self._queue.add(key)

    def _names(self) -> frozenset[str]:
        """Return what anybody asks for, and forget the rest."""
        names = frozenset().union(*self._wanted.values())
        for name in self._answers.keys() - names:
            del self._answers[name], self._heard[name]
        return names

    async def _look(self, name: str) -> None:
        heard, trouble, now = self._heard.setdefault(name, {}), "", self._clock()
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                heard.update(dict.fromkeys(await self._lookup(name), now))
        except TimeoutError:
            trouble = "DNS does not answer."
        except OSError as error:
            trouble = f"DNS knows no address of it ({error.strerror or error})."
        else:  # while DNS is silent nothing is outdated
            kept = sorted(heard, key=lambda it: (-heard[it], it))[:_MOST_ADDRESSES]
            heard = self._heard[name] = {it: heard[it] for it in kept if now - heard[it] < KEEP_SECONDS}
        self._answers[name] = Answer(tuple(sorted(heard)), trouble)

    async def _look_for_api(self) -> None:
        try:
            self._api = tuple(sorted(Target(*place) for place in await self._api_server()))
        except ClusterError as error:
            logs.logger().warning("The API server's addresses could not be read: %s", error)

    def _forget(self, change: Change) -> None:
        if change.after is None:
            self._wanted.pop(change.key, None)


async def look_up(name: str) -> Collection[str]:
    """Return the addresses of a full name, by this machine's resolver.

    Raises:
        OSError: it has none, or nobody knows.
    """
    # With the dot at the end it is tried as it is, and never inside a namespace of the cluster.
    found = await asyncio.get_running_loop().getaddrinfo(f"{name}.", None, type=socket.SOCK_STREAM)
    return {str(place[0]) for *_, place in found}


def nameservers(file: Path = _RESOLV_CONF) -> Collection[str]:
    """Return whom this machine asks, which is the cluster's DNS inside a pod."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return ()
    return {words[1].partition("%")[0] for words in lines if len(words) > 1 and words[0] == "nameserver"}
