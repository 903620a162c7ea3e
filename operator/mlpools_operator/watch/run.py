"""Running kopf inside our own program: started, and stopped, when we say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import kopf

from mlpools_operator.controller.feed import Feed
from mlpools_operator.watch.handlers import registry
from mlpools_operator.watch.kopf_settings import settings
from mlpools_operator.watch.session import Listener


@asynccontextmanager
async def watching(
    feed: Feed, listener: Listener, watches: Mapping[tuple[str, ...], Iterable[str]]
) -> AsyncIterator[asyncio.Task[None]]:
    """Watch while the block runs.

    kopf handles SIGTERM and SIGINT from here on; whoever wants them installs a handler inside the block.

    Args:
        feed: takes what is seen.
        listener: takes what is heard.
        watches: kinds to watch, by the namespaces in which they are; none = the whole cluster.

    Yields:
        The task that watches; it ends only when watching is no longer possible.
    """
    others, stop = asyncio.all_tasks(), asyncio.Event()
    roots: list[asyncio.Task[None]] = []
    for namespaces, kinds in watches.items():  # kopf watches all its kinds in all its namespaces
        roots += await kopf.spawn_tasks(
            registry=registry(feed, listener, kinds),
            settings=settings(),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
        )
    running = asyncio.create_task(kopf.run_tasks(roots, ignored=others))
    try:
        yield running
    finally:
        stop.set()
        await asyncio.wait([running])
