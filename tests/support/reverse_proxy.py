"""A reverse proxy as an Ingress controller is one: ends TLS, keeps the Host, passes WebSockets through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

#: They are about one connection only (RFC 9110, 7.6.1).
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"}
_CHUNK_BYTES = 65_536


@asynccontextmanager
async def proxy(port: int, behind: str) -> AsyncIterator[None]:
    """Serve at a port of this machine what is at ``behind``; say that it came by https."""
    async with aiohttp.ClientSession(auto_decompress=False, trust_env=False) as client:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            headers = _forwarded(request)
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await _socket(client, request, behind, headers)
            return await _answer(client, request, behind, headers)

        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{rest:.*}", pass_on)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield
        finally:
            await runner.cleanup()


def _forwarded(request: web.Request) -> dict[str, str]:
    kept = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
    kept = {name: value for name, value in kept.items() if not name.lower().startswith("sec-websocket")}
    return {
        **kept,
        "Host": request.host,
        "X-Forwarded-For": request.remote or "",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": request.host,
    }


async def _answer(
    client: aiohttp.ClientSession, request: web.Request, behind: str, headers: dict[str, str]
) -> web.StreamResponse:
    body = await request.read() or None
    async with client.request(
        request.method, behind + request.raw_path, headers=headers, data=body, allow_redirects=False
    ) as answer:
        response = web.StreamResponse(status=answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                response.headers.add(name, value)
        await response.prepare(request)
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            await response.write(chunk)
        return response


async def _socket(
    client: aiohttp.ClientSession, request: web.Request, behind: str, headers: dict[str, str]
) -> web.StreamResponse:
    try:
        inner = await client.ws_connect(behind + request.raw_path, headers=headers, max_msg_size=0)
    except aiohttp.WSServerHandshakeError as error:
        return web.Response(status=error.status)
    async with inner:
        outer = web.WebSocketResponse(max_msg_size=0)
        await outer.prepare(request)
        ways = [asyncio.create_task(_carry(outer, inner)), asyncio.create_task(_carry(inner, outer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await outer.close()
        return outer


_AnySocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _carry(source: _AnySocket, target: _AnySocket) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
