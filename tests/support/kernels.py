"""Kernels of the JupyterLab of a pod, used as a browser uses them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

from tests.support.notebook_pod import PORT, TOKEN

_URL = f"http://127.0.0.1:{PORT}"


@contextlib.asynccontextmanager
async def kernel(seconds: float) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Start a kernel, give what runs a cell in it and returns what it prints, and end the kernel.

    Args:
        seconds: for each cell.
    """
    async with aiohttp.ClientSession(headers={"Authorization": f"token {TOKEN}"}) as client:
        async with client.post(f"{_URL}/api/kernels", json={}) as answer:
            name = (await answer.json())["id"]
        async with client.ws_connect(f"{_URL}/api/kernels/{name}/channels") as channel:
            count = 0

            async def run(cell: str) -> str:
                nonlocal count
                count += 1
                await channel.send_json(_request(f"m{count}", cell))
                return await asyncio.wait_for(_output(channel, f"m{count}"), seconds)

            yield run
        async with client.delete(f"{_URL}/api/kernels/{name}"):
            pass


async def say(cells: list[str], seconds: float = 120) -> str:
    """Run cells in a new kernel, each for so long at most, and return what they print."""
    async with kernel(seconds) as run:
        return "".join([await run(cell) for cell in cells])


def _request(message: str, code: str) -> dict[str, Any]:
    header = {
        "msg_id": message,
        "msg_type": "execute_request",
        "session": "s",
        "username": "",
        "version": "5.4",
    }
    content = {"code": code, "silent": False, "store_history": True}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


async def _output(channel: aiohttp.ClientWebSocketResponse, message: str) -> str:
    said = ""
    async for received in channel:
        told = received.json()
        if told["parent_header"].get("msg_id") != message:
            continue
        content = told["content"]
        said += content.get("text", "") if told["msg_type"] == "stream" else ""
        said += content.get("evalue", "") if told["msg_type"] == "error" else ""
        if told["msg_type"] == "status" and content["execution_state"] == "idle":
            return said
    raise AssertionError(f"the kernel hung up after {said!r}")
