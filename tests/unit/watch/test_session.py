"""What is heard of an API server that streams, lists and is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mlpools_operator.cluster.connect import Credentials
from mlpools_operator.watch.session import Listener, open_session

PATH = "/api/v1/pods"


class Server:
    """Streams what it is told to, and notes how a client logged in."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.headers: Any = {}
        self.status = 200

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.headers = request.headers
        if request.query.get("watch") != "true":
            return web.json_response({"items": []}, status=self.status)
        response = web.StreamResponse()
        await response.prepare(request)
        while line := await self.lines.get():
            await response.write(line)
        return response


class Ears:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.listed: list[str] = []
        self.listener = Listener(self.heard.append, self.listed.append)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def session(server: Server, ears: Ears) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    app = web.Application()
    app.router.add_get(PATH, server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    credentials = Credentials(url, None, True, "Bearer secret", None, None)
    async with open_session(credentials, ears.listener) as session:
        yield session, url
    await runner.cleanup()


async def test_every_chunk_of_a_watch_is_heard(
    session: tuple[aiohttp.ClientSession, str], server: Server, ears: Ears
) -> None:
    client, url = session
    async with client.get(url, params={"watch": "true"}) as response:
        assert ears.heard == [PATH]
        chunks = response.content.iter_chunked(1024)
        for number in (2, 3):
            server.lines.put_nowait(b'{"type": "BOOKMARK"}\n')
            assert await anext(chunks)
            assert ears.heard == [PATH] * number
        server.lines.put_nowait(b"")
        assert [chunk async for chunk in chunks] == []
    assert ears.heard == [PATH] * 3, "an end is no byte"
    assert ears.listed == []


async def test_a_list_is_told_from_a_watch(
    session: tuple[aiohttp.ClientSession, str], server: Server, ears: Ears
) -> None:
    client, url = session
    async with client.get(url, params={"limit": "500"}) as response:
        assert await response.json() == {"items": []}
    assert (ears.heard, ears.listed) == ([], [PATH])


async def test_a_list_that_was_refused_lists_nothing(
    session: tuple[aiohttp.ClientSession, str], server: Server, ears: Ears
) -> None:
    client, url = session
    server.status = 403
    async with client.get(url):
        assert ears.listed == []


async def test_it_logs_in(session: tuple[aiohttp.ClientSession, str], server: Server) -> None:
    client, url = session
    async with client.get(url):
        assert server.headers["Authorization"] == "Bearer secret"
        assert server.headers["User-Agent"] == "mlpools-operator-watch"
