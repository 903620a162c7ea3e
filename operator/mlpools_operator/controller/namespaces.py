"""The labels of the served namespaces, where there is a list of them.

The right to list or watch namespaces is one over all of the cluster's. An operator that serves a few has only
the right to read each of these, so it asks for them from time to time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mlpools_operator import logs
from mlpools_operator.cluster import errors
from mlpools_operator.cluster.objects import Cluster
from mlpools_operator.controller.feed import Feed
from mlpools_operator.controller.store import Key, Store


class NamespaceReader:
    """Reads some namespaces by name, and hands them to the feed."""

    def __init__(self, cluster: Cluster, store: Store, feed: Feed, names: Sequence[str]) -> None:
        self._cluster, self._store, self._feed, self._names = cluster, store, feed, names
        self._unread: set[str] = set()

    async def run(self, seconds: float) -> None:
        """Read all every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()

    async def look(self) -> None:
        """Read all once. One that cannot be read is known as it was before, or not at all."""
        for name in self._names:
            try:
                self._feed.event("Namespace", None, await self._cluster.namespace(name))
                self._unread.discard(name)
            except errors.NotFound:
                known = self._store.get(Key("Namespace", "", name))
                if known is not None:
                    self._feed.gone("Namespace", known.meta.uid)
            except errors.ClusterError as error:
                if name not in self._unread:
                    logs.logger().warning(
                        "Namespace %s cannot be read, so pools that choose by labels refuse its jobs: %s",
                        name,
                        error,
                    )
                self._unread.add(name)
