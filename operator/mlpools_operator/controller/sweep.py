"""Comparing what is remembered with what exists.

A watch that had to begin anew tells what is there, never what went meanwhile. So what a complete
list does not contain leaves the store, unless it is newer than the list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from mlpools_operator import logs
from mlpools_operator.cluster import errors
from mlpools_operator.cluster.objects import Cluster, Listed, Listing
from mlpools_operator.cluster.scope import Scope
from mlpools_operator.controller.feed import Feed
from mlpools_operator.controller.store import Store
from mlpools_operator.metrics import Metrics

_SYNC_LOOKS = 50
_SYNC_SECONDS = 0.1
_RETRY_SECONDS = 5.0


class Sweeper:
    """Lists the metadata of all watched objects: at start, after watch gaps, and from time to time."""

    def __init__(self, cluster: Cluster, store: Store, feed: Feed, metrics: Metrics, scope: Scope) -> None:
        """Sweep what is watched."""
        self._cluster, self._store, self._feed, self._metrics = cluster, store, feed, metrics
        self._scope = scope
        self._gaps: set[str] = set()
        self._gap = asyncio.Event()

    def gap(self, kind: str) -> None:
        """Note that a watch of a kind begins anew: what went meanwhile will not be told."""
        self._gaps.add(kind)
        self._gap.set()

    async def first_sync(self) -> None:
        """Catch up at start; that the watches began is no gap."""
        await self.catch_up()
        self._gaps.clear()
        self._gap.clear()

    async def catch_up(self) -> None:
        """Return when the store has all that exists now, as the watches brought it, and nothing else.

        Until then nothing may be decided: a job that is not known yet may hold nodes already.
        """
        missing = set(self._scope.kinds)
        while missing:
            try:
                listings = {kind: await self._list(kind) for kind in sorted(missing)}
            except errors.ClusterError as error:
                logs.logger().warning(
                    "Existing objects could not be listed, trying again in %.0f s: %s", _RETRY_SECONDS, error
                )
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            missing = await self._still_missing(listings)
            for kind in set(listings) - missing:
                self._forget(kind, listings[kind])

    async def _still_missing(self, listings: Mapping[str, list[Listing]]) -> set[str]:
        """Give the watches a while to bring what was listed; return the kinds that are not complete.

        What was deleted before the watch began never comes, so the lists have to be made again then.
        """
        missing = set(listings)
        for _ in range(_SYNC_LOOKS):
            missing = {kind for kind in missing if not self._complete(kind, listings[kind])}
            if not missing:
                break
            await asyncio.sleep(_SYNC_SECONDS)
        return missing

    async def run(self, seconds: float) -> None:
        """Sweep after gaps, and at least every so many seconds, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(seconds):
                    await self._gap.wait()
                kinds = self._gaps
            except TimeoutError:
                kinds = set(self._scope.kinds)
            self._gaps = set()
            self._gap.clear()
            try:
                for kind in sorted(kinds):
                    await self.sweep(kind)
            except errors.ClusterError as error:
                logs.logger().warning("Sweep failed, trying again in %.0f s: %s", _RETRY_SECONDS, error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._gaps |= kinds
                self._gap.set()

    async def sweep(self, kind: str) -> int:
        """Forget the objects of a kind that are gone; return how many there were.

        Raises:
            ClusterError: the list could not be had.
        """
        return self._forget(kind, await self._list(kind))

    def _forget(self, kind: str, listings: Iterable[Listing]) -> int:
        number = 0
        for namespace, listing in zip(self._scope.namespaces(kind), listings, strict=True):
            for uid in self._missing_from(listing, kind, namespace):
                number += self._feed.gone(kind, uid)
        if number:
            self._metrics.swept.labels(kind).inc(number)
            logs.logger(kind=kind).info("Forgot %d objects whose deletion no watch had told.", number)
        return number

    async def _list(self, kind: str) -> list[Listing]:
        listings = []
        for namespace in self._scope.namespaces(kind):
            try:
                listings.append(await self._cluster.listing(kind, namespace))
            except errors.Expired:
                listings.append(await self._cluster.listing(kind, namespace))
        return listings

    def _missing_from(self, listing: Listing, kind: str, namespace: str) -> list[str]:
        there = {item.uid for item in listing.objects}
        return [
            entry.meta.uid
            for key, entry in self._store.all(kind)
            if entry.meta.uid not in there
            and namespace in ("", key.namespace)
            and int(entry.meta.resource_version) <= int(listing.resource_version)
        ]

    def _complete(self, kind: str, listings: Iterable[Listing]) -> bool:
        return all(self._as_new(kind, item) for listing in listings for item in listing.objects)

    def _as_new(self, kind: str, item: Listed) -> bool:
        known = self._store.find(kind, item.uid)
        if known is None:
            return self._store.was_removed(item.uid)
        return int(known.meta.resource_version) >= int(item.resource_version)
