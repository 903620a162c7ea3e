"""Running kopf inside our own program: started, and stopped, when we say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import kopf

from mlpools_operator.controller.feed import Feed
from mlpools_operator.watch.handlers import registry
from mlpools_operator.watch.kopf_settings import settings
from mlpools_operator.watch.session import Listener


@asynccontextmanager
async def watching(
    feed: Feed, listener: Listener, namespaces: Sequence[str]
) -> AsyncIterator[asyncio.Task[None]]:
    """Watch while the block runs.

    kopf handles SIGTERM and SIGINT from here on; whoever wants them installs a handler inside the block.

    Args:
        feed: takes what is seen.
        listener: takes what is heard.
        namespaces: to watch; empty = the whole cluster.

    Yields:
        The task that watches; it ends only when watching is no longer possible.
    """
    others, stop = asyncio.all_tasks(), asyncio.Event()
    roots = await kopf.spawn_tasks(
        registry=registry(feed, listener, everywhere=not namespaces),
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
