"""One event handler a kind: it hands the raw object on. No I/O, so the newest state is never behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import kopf

from mlpools_operator.cluster import connect
from mlpools_operator.cluster.kinds import WATCHED, KindInfo
from mlpools_operator.controller.feed import Feed
from mlpools_operator.watch.session import Listener, open_session


def registry(feed: Feed, listener: Listener, kinds: Iterable[str]) -> kopf.OperatorRegistry:
    """Return the handlers of some kinds, and the login through our own session."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        """Log in; kopf asks again when a token was refused, so the credentials are read anew."""
        credentials = connect.credentials()
        return kopf.AiohttpSession(
            server=credentials.server, aiohttp_session=open_session(credentials, listener)
        )

    for kind in kinds:
        _watch(handlers, feed, WATCHED[kind])
    return handlers


def _watch(handlers: kopf.OperatorRegistry, feed: Feed, info: KindInfo) -> None:
    @kopf.on.event(info.group, info.version, info.plural, id=f"feed-{info.plural}", registry=handlers)
    async def seen(event: kopf.RawEvent, **_: Any) -> None:
        feed.event(info.kind, event["type"], event["object"])
