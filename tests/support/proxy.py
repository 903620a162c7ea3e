"""A reverse proxy before the API server: counts requests, and makes faults happen at an exact one.

The operator under test is the one that ships: nothing in it knows about faults.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

_WRITES = {"POST", "PUT", "PATCH", "DELETE"}
_HOP = {"transfer-encoding", "content-encoding", "content-length", "connection", "host"}


class Proxy:
    """Forwards plain HTTP on a free port of the loopback to an API server.

    Attributes:
        url: where it listens.
        writes: method and path of every write so far that concerns no Event.
        requests: number of requests by method and last word of the collection's path, watches left out.
        before: called with a write's number, from 1, before it is forwarded.
        after: called with it when it is stored, before the answer goes back.
    """

    def __init__(self, server: str, ca: Path) -> None:
        self.writes: list[tuple[str, str]] = []
        self.requests: Counter[tuple[str, str]] = Counter()
        self.before: Callable[[int], None] = lambda number: None
        self.after: Callable[[int], None] = lambda number: None
        self._server, self._tls = server, ssl.create_default_context(cafile=str(ca))
        self._open = threading.Event()
        self._open.set()
        self._expired = False
        self._watches: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(started)))
        self._thread.start()
        started.wait(10)

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def kubeconfig(self, folder: Path, token: str) -> Path:
        """Write a kubeconfig that leads through this proxy."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "user"}}],
            "current-context": "proxy",
        }
        path = folder / "proxy.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def cut_watches(self) -> None:
        """End all watches and let no new one through."""
        self._open.clear()
        self._loop.call_soon_threadsafe(self._cancel_watches)

    def resume_watches(self, *, expired: bool) -> None:
        """Let watches through again.

        Args:
            expired: each that wants to go on gets 410 first, as after a compaction, and must list anew.
        """
        self._expired = expired
        self._open.set()

    def _cancel_watches(self) -> None:
        for task in self._watches:
            task.cancel()

    async def _serve(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            self._session = session
            started.set()
            await self._stop.wait()
            self._cancel_watches()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            return await self._watch(request)
        path = request.path.rstrip("/")
        self.requests[request.method, path] += 1
        counts = request.method in _WRITES and "/events" not in path
        if counts:
            self.writes.append((request.method, path))
            number = len(self.writes)
            await asyncio.to_thread(self.before, number)
        body = await request.read()
        async with self._forward(request, body) as answer:
            content = await answer.read()
            if counts:
                await asyncio.to_thread(self.after, number)
            return web.Response(status=answer.status, body=content, headers=_kept(answer.headers))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(self._open.wait, 60)
        if self._expired and request.query.get("resourceVersion"):
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            return web.json_response({"type": "ERROR", "object": gone})
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            async with self._forward(request, b"") as answer:
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        except asyncio.CancelledError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._watches.discard(task)
        return response

    @asynccontextmanager
    async def _forward(self, request: web.Request, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        async with self._session.request(
            request.method,
            f"{self._server}{request.path_qs}",
            data=body or None,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            yield answer


def _kept(headers: Any) -> dict[str, str]:
    kept = {key: value for key, value in headers.items() if key.lower() not in _HOP}
    encoding = headers.get("Content-Encoding")
    return {**kept, "Content-Encoding": encoding} if encoding else kept
