"""What happens to a real JupyterLab behind an Ingress, seen by a browser."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tests.support import jupyter_messages
from tests.support.notebook_pod import PORT, TOKEN, Pod
from tests.support.reverse_proxy import proxy

_PROXY_PORT = 8080
_HOST = f"alice-team-a-1a2b3c4d.notebooks.example.com:{_PROXY_PORT}"
_URL = f"http://{_HOST}"
_ORIGINS = {
    "own": f"https://{_HOST}",
    "foreign": "https://evil.example.org",
    "neighbour": f"https://bob-team-a-5e6f7a8b.notebooks.example.com:{_PROXY_PORT}",
}
_CELL = """
import pathlib, time
print("first", flush=True)
while not pathlib.Path({!r}).exists():
    time.sleep(0.05)
print("second", flush=True)
"""


class _Everything(AbstractResolver):
    """The domain's DNS: every host is where the Ingress controller is."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
        )
        return [found]

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def _browser() -> AsyncIterator[aiohttp.ClientSession]:
    # The proxy plays that it ends TLS; a browser would send it the Secure cookies.
    jar = aiohttp.CookieJar(treat_as_secure_origin=URL(_URL))
    connector = aiohttp.TCPConnector(resolver=_Everything())
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
        yield session


async def scenario(folder: Path) -> dict[str, Any]:
    """Use a notebook through a proxy, and tell what came of it."""
    pod = Pod(folder, args=["--allow-root"])
    await pod.until(lambda it: it.serving)
    async with proxy(_PROXY_PORT, f"http://127.0.0.1:{PORT}"), _browser() as browser:
        found = await _log_in(browser)
        xsrf = next(cookie.value for cookie in browser.cookie_jar if cookie.key == "_xsrf")
        found["no_xsrf"], _ = await _post(browser, "/api/kernels", {})
        found["kernel"], kernel = await _post(browser, "/api/kernels", {"X-XSRFToken": xsrf})
        path = f"/api/kernels/{kernel['id']}/channels"
        found["sockets"] = {name: await _knock(browser, path, origin) for name, origin in _ORIGINS.items()}
        found["output"] = await _run_a_cell(browser, path, folder / "go")
    pod.stop()
    return found


async def _log_in(browser: aiohttp.ClientSession) -> dict[str, Any]:
    async with browser.get(f"{_URL}/api/kernels") as answer:
        nobody = answer.status
    async with browser.get(f"{_URL}/lab?token={TOKEN}") as page:
        text = await page.text()
        return {
            "nobody": nobody,
            "login": page.status,
            "landed": page.url.authority == _HOST,
            "base": '"baseUrl": "/"' in text,
            "secure": all(cookie["secure"] for cookie in browser.cookie_jar if cookie.key != "_xsrf"),
        }


async def _post(browser: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    async with browser.post(_URL + path, json={}, headers=headers) as answer:
        return answer.status, await answer.json() if answer.status < 300 else None


async def _knock(browser: aiohttp.ClientSession, path: str, origin: str) -> int:
    try:
        async with browser.ws_connect(_URL + path, origin=origin):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def _run_a_cell(browser: aiohttp.ClientSession, path: str, go: Path) -> list[str]:
    """Return what a cell printed, which goes on only once its first line was seen here."""
    lines: list[str] = []
    async with browser.ws_connect(_URL + path, origin=_ORIGINS["own"]) as channel:
        await channel.send_json(jupyter_messages.execute(_CELL.format(str(go))))
        while len(lines) < 2:
            message = await channel.receive_json(timeout=60)
            if message["msg_type"] == "stream":
                lines += message["content"]["text"].split()
                await asyncio.to_thread(go.touch)
    return lines
