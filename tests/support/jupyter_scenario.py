"""What happens to a real JupyterLab, from inside its pod."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.support import jupyter_messages
from tests.support.notebook_pod import PORT, TOKEN, Pod

_URL = f"http://127.0.0.1:{PORT}"


def _with(token: str) -> dict[str, str]:
    return {"Authorization": f"token {token}"}


async def scenario(folder: Path) -> dict[str, Any]:
    """Use a notebook in all ways, and tell what its supervisor made of it."""
    began = time.monotonic()
    pod = Pod(folder, args=["--allow-root"])
    await pod.until(lambda it: it.serving)
    found: dict[str, Any] = {"start_seconds": time.monotonic() - began}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        found["doors"] = await _try_the_doors(browser)
    found["form"] = {token: await _log_in_by_hand(token) for token in (TOKEN, "wrong", "")}
    async with aiohttp.ClientSession(headers=_with(TOKEN)) as browser:
        found["tab"] = await _leave_a_tab_open(browser, pod)
    async with aiohttp.ClientSession(headers=_with(TOKEN)) as client:
        kernel = await _post(client, "/api/kernels")
        found["cell"] = await _run_a_cell_and_close_the_browser(client, kernel["id"], pod)
        found["terminal"] = await _run_in_a_terminal(client, pod)
        found["edit"] = await _edit_a_document(client, pod)
        found["tokens"] = await _change_the_token(pod, kernel["id"])
    found["end"] = dict(pod.stop())
    return found


async def _try_the_doors(browser: aiohttp.ClientSession) -> dict[str, int]:
    async def status(method: str, path: str, **more: Any) -> int:
        async with browser.request(method, _URL + path, allow_redirects=False, **more) as answer:
            return answer.status

    found = {
        "nobody": await status("GET", "/api/kernels"),
        "wrong": await status("GET", "/api/kernels", headers=_with("wrong")),
        "empty": await status("GET", "/api/kernels", headers=_with("")),
        "login": await status("GET", f"/lab?token={TOKEN}"),
        "cookie": await status("GET", "/api/kernels"),
        "no_xsrf": await status("POST", "/api/terminals"),
    }
    path = "/api/events/subscribe"
    for name, origin in (("own_origin", _URL), ("foreign_origin", "http://evil.test")):
        try:
            async with browser.ws_connect(_URL + path, origin=origin):
                found[name] = 101
        except aiohttp.WSServerHandshakeError as error:
            found[name] = error.status
    return found


async def _log_in_by_hand(token: str) -> int:
    """Type a token into the form, and return the answer to what follows."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(f"{_URL}/login") as page:
            await page.read()
        xsrf = next(cookie.value for cookie in browser.cookie_jar if cookie.key == "_xsrf")
        form = {"password": token, "_xsrf": xsrf}
        async with browser.post(f"{_URL}/login", data=form, allow_redirects=False) as answer:
            await answer.read()
        async with browser.get(f"{_URL}/api/kernels") as after:
            return after.status


async def _leave_a_tab_open(browser: aiohttp.ClientSession, pod: Pod) -> dict[str, Any]:
    """Poll as an open tab does, with a WebSocket that pings, until it has been unused for some seconds."""

    async def poll() -> None:
        while True:
            for path in ("/api/kernels", "/api/sessions", "/api/terminals", "/api/me"):
                async with browser.get(_URL + path) as answer:
                    await answer.read()
            await asyncio.sleep(2)

    async with browser.ws_connect(_URL + "/api/events/subscribe", origin=_URL, heartbeat=1):
        polling = asyncio.create_task(poll())
        seen = await pod.until(lambda it: it.unused_seconds > 6, seconds=60)
        polling.cancel()
    return {"unused": seen.unused_seconds}


async def _run_a_cell_and_close_the_browser(
    client: aiohttp.ClientSession, kernel: str, pod: Pod
) -> dict[str, Any]:
    async with client.ws_connect(f"{_URL}/api/kernels/{kernel}/channels") as channel:
        await channel.send_json(jupyter_messages.execute("import time; time.sleep(12)"))
        await pod.until(lambda it: it.used_by == "a busy kernel", 20)
    # The browser is closed; the cell sleeps, so neither its CPU nor data tells of it.
    began, most = time.monotonic(), 0.0
    while time.monotonic() - began < 7:
        activity = await asyncio.to_thread(pod.activity)
        most = max(most, activity.unused_seconds)
        await asyncio.sleep(0.5)
    after = await pod.until(lambda it: it.unused_seconds > 6, 60)
    return {"most_while_busy": most, "after": after.unused_seconds, "untouched": after.untouched_seconds}


async def _run_in_a_terminal(client: aiohttp.ClientSession, pod: Pod) -> dict[str, Any]:
    name = (await _post(client, "/api/terminals"))["name"]
    async with client.ws_connect(f"{_URL}/terminals/websocket/{name}") as terminal:
        await terminal.send_json(["stdin", "command -v pip > pip.txt; sleep 1000\r"])
        await pod.until(lambda it: it.used_by == "a program in a terminal", 20)
    began, most = time.monotonic(), 0.0
    while time.monotonic() - began < 6:
        most = max(most, (await asyncio.to_thread(pod.activity)).unused_seconds)
        await asyncio.sleep(0.5)
    async with client.ws_connect(f"{_URL}/terminals/websocket/{name}") as terminal:
        await terminal.send_json(["stdin", "\x03"])
        after = await pod.until(lambda it: it.unused_seconds > 5, 60)
    pip = (pod.folder / "workspace" / "pip.txt").read_text().strip()
    return {"most_while_running": most, "after": after.unused_seconds, "pip": pip}


async def _edit_a_document(client: aiohttp.ClientSession, pod: Pod) -> dict[str, Any]:
    cells: dict[str, Any] = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    document = {"type": "notebook", "format": "json", "content": cells}
    await _put(client, "/api/contents/work.ipynb", document)
    body = {"path": "work.ipynb", "type": "notebook", "name": "work", "kernel": {"name": "python3"}}
    await _post(client, "/api/sessions", body)
    await pod.until(lambda it: it.untouched_seconds > 3, 60)
    await _put(client, "/api/contents/work.ipynb", document)
    seen = await pod.until(lambda it: it.untouched_seconds < 2, 10)
    return {"untouched": seen.untouched_seconds}


async def _change_the_token(pod: Pod, kernel: str) -> dict[str, Any]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:

        async def status(path: str, **headers: str) -> int:
            async with browser.get(_URL + path, headers=headers) as answer:
                return answer.status

        await status(f"/lab?token={TOKEN}")
        pod.set_token("another one")
        async with aiohttp.ClientSession() as stranger:

            async def asks(token: str) -> int:
                async with stranger.get(f"{_URL}/api/kernels/{kernel}", headers=_with(token)) as answer:
                    found = answer.status
                stranger.cookie_jar.clear()
                return found

            found = {"old": await asks(TOKEN), "new": await asks("another one")}
            pod.set_token(None)
            found |= {"gone": await asks("another one"), "empty": await asks("")}
            pod.set_token("a third one")
            found["third"] = await asks("a third one")
        found["logged_in"] = await status(f"/api/kernels/{kernel}")
    return found


async def _post(client: aiohttp.ClientSession, path: str, body: Any = None) -> dict[str, Any]:
    async with client.post(_URL + path, json=body or {}) as answer:
        assert answer.status < 300, (path, answer.status, await answer.text())
        made: dict[str, Any] = await answer.json()
        return made


async def _put(client: aiohttp.ClientSession, path: str, body: Any) -> None:
    async with client.put(_URL + path, json=body) as answer:
        assert answer.status < 300, (path, answer.status, await answer.text())
