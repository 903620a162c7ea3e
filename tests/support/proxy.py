"""A reverse proxy before the API server: notes requests, and makes faults happen at an exact one.

The operator under test is the one that ships: nothing in it knows about faults.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.waiting import PATIENCE

#: What a hook answers: go on, or end the connection without an answer; else an HTTP status to answer with.
GO_ON, HANG_UP = 0, -1

#: Turns of the event loop from an accepted connection to the server that knows of it.
_TURNS_OF_AN_ACCEPT = 3

#: Requests that may be held at once: who gets no answer asks again.
_HELD = 256
_HOP = {"transfer-encoding", "content-encoding", "content-length", "connection", "host"}


@dataclass(frozen=True)
class Call:
    """A request that is no watch.

    Attributes:
        method: of HTTP.
        path: without the query.
        number: how often this method and path were asked for, this time included.
        watcher: whether a watch asks, with the list that it begins with.
    """

    method: str
    path: str
    number: int
    watcher: bool = False


class Proxy:
    """Forwards plain HTTP on a free port of the loopback to an API server.

    Attributes:
        url: where it listens.
        calls: all requests so far, watches left out.
        before: called before a request is forwarded.
        after: called when it was carried out, before the answer goes back.
    """

    def __init__(self, server: str, ca: Path) -> None:
        self.calls: list[Call] = []
        self.before: Callable[[Call], int] = lambda call: GO_ON
        self.after: Callable[[Call], int] = lambda call: GO_ON
        self._counts: Counter[tuple[str, str]] = Counter()
        self._server, self._tls = server, ssl.create_default_context(cafile=str(ca))
        self._expired = False
        self._watches: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(_HELD))
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        assert started.wait(PATIENCE)

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)

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
        self._loop.call_soon_threadsafe(self._open.clear)
        self._loop.call_soon_threadsafe(self._cancel_watches)

    def resume_watches(self, *, expired: bool) -> None:
        """Let watches through again.

        Args:
            expired: each that wants to go on gets 410 first, as after a compaction, and must list anew.
        """
        self._expired = expired
        self._loop.call_soon_threadsafe(self._open.set)

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(started))

    def _cancel_watches(self) -> None:
        for task in self._watches:
            task.cancel()

    async def _serve(self, started: threading.Event) -> None:
        self._stop, self._open = asyncio.Event(), asyncio.Event()
        self._open.set()
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
            await site.stop()
            for _ in range(_TURNS_OF_AN_ACCEPT):  # else nobody would close a connection of this moment
                await asyncio.sleep(0)
            await runner.cleanup()
        await asyncio.sleep(0.1)  # TLS connections end a moment after their session

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            return await self._watch(request)
        self._counts[request.method, request.path] += 1
        number = self._counts[request.method, request.path]
        watcher = request.headers.get("User-Agent", "").endswith("-watch")
        call = Call(request.method, request.path, number, watcher)
        self.calls.append(call)
        body = await request.read()
        fault = await asyncio.to_thread(self.before, call)
        if fault == GO_ON:
            async with self._forward(request, body) as answer:
                content = await answer.read()
            fault = await asyncio.to_thread(self.after, call)
            if fault == GO_ON:
                return web.Response(status=answer.status, body=content, headers=_kept(answer.headers))
        if fault != HANG_UP:
            return web.Response(status=fault, text="a fault of the test")
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        await self._open.wait()
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
        except ConnectionResetError:
            pass  # the client went first
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
