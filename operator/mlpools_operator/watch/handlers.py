"""One event handler a kind: it hands the raw object on. No I/O, so the newest state is never behind it."""

from __future__ import annotations

from typing import Any

import kopf

from mlpools_operator.cluster import connect
from mlpools_operator.cluster.kinds import KindInfo, watched
from mlpools_operator.controller.feed import Feed
from mlpools_operator.watch.session import Listener, open_session


def registry(feed: Feed, listener: Listener, *, everywhere: bool) -> kopf.OperatorRegistry:
    """Return the handlers of all watched kinds, and the login through our own session.

    Args:
        feed: takes what is seen.
        listener: takes what is heard.
        everywhere: whether the whole cluster is watched.
    """
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        """Log in; kopf asks again when a token was refused, so the credentials are read anew."""
        credentials = connect.credentials()
        return kopf.AiohttpSession(
            server=credentials.server, aiohttp_session=open_session(credentials, listener)
        )

    for info in watched(everywhere=everywhere).values():
        _watch(handlers, feed, info)
    return handlers


def _watch(handlers: kopf.OperatorRegistry, feed: Feed, info: KindInfo) -> None:
    @kopf.on.event(info.group, info.version, info.plural, id=f"feed-{info.plural}", registry=handlers)
    async def seen(event: kopf.RawEvent, **_: Any) -> None:
        feed.event(info.kind, event["type"], event["object"])
