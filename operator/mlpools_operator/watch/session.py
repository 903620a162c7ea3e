"""The HTTP session that kopf watches through: ours, so that we hear what kopf does not tell handlers.

Two things: that bytes arrive on a watch (bookmarks included, which handlers never see), and that a kind is
listed anew, which is how a watch begins after a gap in which deletions were lost.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from mlpools_operator.cluster.connect import Credentials


@dataclass(frozen=True)
class Listener:
    """Who wants to know.

    Attributes:
        heard: called with a watch's path when bytes of it arrived.
        listed: called with a collection's path when it was listed.
    """

    heard: Callable[[str], None]
    listed: Callable[[str], None]


def open_session(credentials: Credentials, listener: Listener) -> aiohttp.ClientSession:
    """Return a session that logs in like our own requests and reports what it hears."""

    class Response(_ListeningResponse):
        _listener = listener

    headers = {"User-Agent": "mlpools-operator-watch"}
    if credentials.authorization:
        headers["Authorization"] = credentials.authorization
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=_tls(credentials)),
        headers=headers,
        response_class=Response,
        trust_env=False,
    )


class _ListeningResponse(aiohttp.ClientResponse):
    _listener: Listener

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        await super().start(connection)
        if self.url.query.get("watch") == "true":
            self._listener.heard(self.url.path)
            self.content = _Ear(self.content, self._heard)  # type: ignore[assignment]
        elif self.method == "GET" and self.status == 200:
            self._listener.listed(self.url.path)
        return self

    def _heard(self) -> None:
        self._listener.heard(self.url.path)


class _Ear:
    """A stream reader that tells of every chunk."""

    def __init__(self, content: aiohttp.StreamReader, heard: Callable[[], None]) -> None:
        self._content, self._heard = content, heard

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        async for chunk in self._content.iter_chunked(size):
            self._heard()
            yield chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)


def _tls(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=credentials.ca_path)
    if credentials.certificate_path:
        context.load_cert_chain(credentials.certificate_path, credentials.key_path)
    if not credentials.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
