"""What people install in a real JupyterLab, from inside its pod, and find again a stop and a start later."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from mlpools.contract.tasks import Packages
from tests.support.notebook_pod import PORT, TOKEN, Pod
from tests.support.package_index import PackageIndex

_URL = f"http://127.0.0.1:{PORT}"
_IMPORT = "import cat, dog; print('found', cat.version, dog.version)"


async def scenario(folder: Path) -> dict[str, Any]:
    """Install in a kernel, stop, start, and import; then lose the index with another image."""
    found: dict[str, Any] = {}
    with PackageIndex(folder / "index") as index:
        index.wheel("cat", "1.0")
        index.wheel("dog", "1.0")
        index.wheel("mouse", "1.0", needs=["cheese"])
        index.wheel("cheese", "1.0")
        rules = Packages(index_url=index.url, block=("cheese",))
        pod = await _start(folder, rules)
        found["magic"] = await _say(["%pip install cat==1.0", "!pip install dog", _IMPORT])
        found["blocked"] = await _say(["%uv pip install mouse"])
        found["end"] = dict(pod.stop())
        pod = await _start(folder, rules)
        found["again"] = await _say([_IMPORT])
        pod.stop()
    (library,) = (folder / "workspace" / ".mlpools" / "packages").glob("*/")
    (library / "cat.py").unlink()
    for file in (library / "cat-1.0.dist-info").iterdir():
        file.unlink()
    pod = await _start(folder, rules)
    found["lost"] = await _say(["1 + 1", "2 + 2"])
    found["trouble"] = pod.activity().trouble
    pod.stop()
    return found


async def _start(folder: Path, rules: Packages) -> Pod:
    pod = Pod(folder, args=["--allow-root"], packages=rules.to_dict())
    await pod.until(lambda it: it.serving, 120)
    return pod


async def _say(cells: list[str]) -> str:
    """Run cells in a new kernel, and return what they print."""
    async with aiohttp.ClientSession(headers={"Authorization": f"token {TOKEN}"}) as client:
        async with client.post(f"{_URL}/api/kernels", json={}) as answer:
            kernel = (await answer.json())["id"]
        said = ""
        async with client.ws_connect(f"{_URL}/api/kernels/{kernel}/channels") as channel:
            for number, cell in enumerate(cells):
                await channel.send_json(_request(f"m{number}", cell))
                said += await asyncio.wait_for(_output(channel, f"m{number}"), 120)
        async with client.delete(f"{_URL}/api/kernels/{kernel}"):
            return said


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
