"""The accounts of all pools: read before the first admission, charged in memory, written once a minute.

Each is a ConfigMap in the operator's namespace. It belongs to nobody, so that neither a pool nor a namespace
nor a job takes its use along when it is deleted: a pool that is made again goes on with its account. The one
of a pool that is gone is deleted once nothing in it counts any more. There is one writer: who finds another
version than its own goes on from that one, as after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlpools_operator import logs
from mlpools_operator.cluster import errors
from mlpools_operator.cluster.objects import Cluster
from mlpools_operator.domain import naming
from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.domain.queue import usage, usage_record
from mlpools_operator.domain.queue.usage import Account
from mlpools_operator.pool_metrics import PoolMetrics

Json = dict[str, Any]
#: Between two looks for accounts of pools that are gone.
_SWEEP_SECONDS = 3600.0

CandidatesOf = Callable[[str], Sequence[Candidate]]


@dataclass(slots=True)
class _Book:
    """One pool's account.

    Attributes:
        version: of the ConfigMap that was read or written last; empty while there is none.
        stored: its data.
        counted: the account as it was stored then: so much the metrics have.
        unanswered: hashes of what was sent since then: it may have arrived though the answer was lost.
        unreadable: why it could not be read; it is left alone then.
    """

    account: Account = field(default_factory=Account)
    version: str = ""
    stored: dict[str, str] = field(default_factory=dict)
    counted: Account = field(default_factory=Account)
    unanswered: set[int] = field(default_factory=set)
    unreadable: str = ""

    def wrote(self, version: str, data: dict[str, str]) -> None:
        """Note what is there now."""
        self.version, self.stored = version, data
        self.unanswered.clear()


class Usage:
    """What the namespaces have used of each pool."""

    def __init__(
        self,
        cluster: Cluster,
        candidates: CandidatesOf,
        namespace: str,
        metrics: PoolMetrics,
        clock: Callable[[], float],
    ) -> None:
        """Keep the accounts in ConfigMaps of a namespace.

        Args:
            cluster: where they are.
            candidates: all that hold nodes of a pool or ask for them, by the pool's name.
            namespace: the operator's.
            metrics: counts what is stored, and nothing before: a successor goes on from there.
            clock: seconds since the epoch.
        """
        self._cluster, self._candidates, self._namespace = cluster, candidates, namespace
        self._metrics, self._clock = metrics, clock
        self._books: dict[str, _Book] = {}

    async def load(self, pool: str) -> None:
        """Read a pool's account unless it is known; nothing may be admitted before.

        Raises:
            ClusterError: it could not be had; try again.
        """
        if pool not in self._books:
            self._books[pool] = await self._read(pool)

    def charge(self, pool: str, candidates: Sequence[Candidate]) -> Account:
        """Charge a pool's account up to now and return it."""
        book = self._books[pool]
        book.account = usage.charge(book.account, candidates, self._clock())
        return book.account

    def unreadable(self, pool: str) -> str:
        """Return why a pool's use is not known, empty if it is."""
        return self._books[pool].unreadable

    async def run(self, seconds: float, pools: Callable[[], Iterable[str]]) -> None:
        """Write what has changed every so many seconds, and tidy up now and then, until cancelled.

        Args:
            seconds: between two rounds.
            pools: names of those that there are.
        """
        swept = 0.0
        while True:
            await asyncio.sleep(seconds)
            for pool in tuple(self._books):
                await self._try_to_write(pool)
            if self._clock() >= swept + _SWEEP_SECONDS:
                swept = self._clock()
                try:
                    await self.sweep(pools())
                except errors.ClusterError as error:
                    logs.logger().warning("Accounts of pools that are gone could not be tidied up: %s", error)

    async def sweep(self, pools: Iterable[str]) -> None:
        """Delete the accounts of pools that are gone, if nobody holds their nodes and no day counts any more.

        Raises:
            ClusterError: not all could be looked at.
        """
        wanted = {naming.usage(pool) for pool in pools}
        known = {naming.usage(pool): pool for pool in self._books}
        for raw in await self._cluster.config_maps(self._namespace):
            name = raw["metadata"]["name"]
            if name in wanted or self._counts(raw, known.get(name)):
                continue
            await self._cluster.delete_config_map(self._namespace, name, raw["metadata"]["resourceVersion"])
            self._books.pop(known.get(name, ""), None)
            logs.logger().info("Deleted ConfigMap %s: its pool is gone, and nothing in it counts.", name)

    def _counts(self, raw: Json, pool: str | None) -> bool:
        """Whether an account still says something; one that cannot be read is left to whoever changed it."""
        label = raw["metadata"]["labels"][naming.POOL]
        candidates = self._candidates(label)
        try:
            account = usage.resumed(usage_record.decode(raw.get("data") or {}), candidates)
        except usage_record.UnreadableError:
            return True
        known = self._books[pool].account if pool else Account()
        charged = (usage.charge(it, candidates, self._clock()) for it in (account, known))
        return any(it.held or it.used for it in charged)

    async def flush(self, seconds: float) -> None:
        """Write what has changed, all pools at once, and give up after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*map(self._try_to_write, tuple(self._books)))
        except TimeoutError:
            logs.logger().warning("The last use of some pools was not written within %.0f s.", seconds)

    async def _try_to_write(self, pool: str) -> None:
        try:
            await self.write(pool)
        except errors.ClusterError as error:
            self._metrics.usage_written(pool, "failed")
            logs.logger(pool=pool).warning("The use of pool %s could not be written: %s", pool, error)

    async def write(self, pool: str) -> None:
        """Write a pool's account if it has changed.

        Raises:
            ClusterError: it was not written; the next time it is tried again.
        """
        book = self._books[pool]
        if book.unreadable:
            self._books[pool] = await self._read(pool)
            if self.unreadable(pool):
                self._metrics.usage_written(pool, "failed")
            return
        account = self.charge(pool, self._candidates(pool))
        data = usage_record.encode(account)
        if _says_the_same(data, book.stored):
            return
        if usage_record.size(data) > usage_record.MAX_BYTES:
            raise errors.Invalid(
                f"{len(book.account.used)} namespaces and {len(book.account.held)} running attempts "
                "are more than a ConfigMap takes. A restart of the operator forgets what was used since the "
                "last write. Share the work out to several pools."
            )
        book.unanswered.add(_hash(data))
        try:
            answer = await self._cluster.write_config_map(self._manifest(pool, data, book.version))
        except errors.NotFound:
            book.version = ""  # deleted: what is remembered is written anew
        except (errors.Conflict, errors.AlreadyExists):
            await self._meet(pool, book)
        else:
            book.wrote(answer["metadata"]["resourceVersion"], data)
            self._count(pool, book, account)

    async def _meet(self, pool: str, book: _Book) -> None:
        """Look at who wrote in between: we ourselves, when an answer was lost, or somebody to go on from."""
        found = await self._read(pool)
        if not found.version or _hash(found.stored) in book.unanswered:
            book.wrote(found.version, found.stored)
            if found.version:
                self._count(pool, book, found.account)
        else:
            self._books[pool] = found

    def _count(self, pool: str, book: _Book, stored: Account) -> None:
        self._metrics.usage_written(pool, "written")
        self._metrics.used(pool, usage.added(book.counted, stored))
        book.counted = stored

    async def _read(self, pool: str) -> _Book:
        name = naming.usage(pool)
        try:
            raw = await self._cluster.config_map(self._namespace, name)
        except errors.NotFound:
            return _Book()
        data = raw.get("data") or {}
        book = _Book(version=raw["metadata"]["resourceVersion"], stored=data)
        try:
            account = usage_record.decode(data)
        except usage_record.UnreadableError as error:
            book.unreadable = f"ConfigMap {name} in namespace {self._namespace}: {error}"
            logs.logger(pool=pool).error(
                "The use of pool %s is not known: %s. Correct or delete it.", pool, book.unreadable
            )
        else:
            book.account = book.counted = usage.resumed(account, self._candidates(pool))
        return book

    def _manifest(self, pool: str, data: dict[str, str], version: str) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": naming.usage(pool),
                "namespace": self._namespace,
                "labels": {naming.MANAGED_BY: naming.MANAGER, naming.POOL: naming.label_value(pool)},
                **({"resourceVersion": version} if version else {}),
            },
            "data": data,
        }


def _hash(data: dict[str, str]) -> int:
    return hash(frozenset(data.items()))


def _says_the_same(data: dict[str, str], stored: dict[str, str]) -> bool:
    """Whether nothing was charged in between; an account of nobody and nothing need not be written at all."""
    empty = usage_record.encode(Account())
    idle = data["held"] == empty["held"]
    return idle and all(data[key] == (stored or empty)[key] for key in ("held", "nodeSeconds"))
