"""What happens to a notebook with a Ray cluster, from inside its pods, which share one network here."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import LEADER_PORT_ENV, NOTEBOOK_ENV, POD_IP_ENV
from mlpools.supervisor.status import ask
from tests.support.notebook_pod import PORT, STATUS_PORT, Pod

#: Ray takes 127.0.0.1 for the machine's name, whatever that is.
_HEAD, _NODE = "127.0.0.2", "127.0.0.3"
_NODE_STATUS = 8471
_SERVES = f"import socket, time; _ = socket.create_server(('', {PORT})); time.sleep(100000)"
#: A kernel: connects, runs tasks on both nodes until a file is there, and lives on until it is killed.
_KERNEL = """
import sys, time, pathlib, json
import ray
from mlpools import cluster
from mlpools.train.launchers.ray_cluster import is_inside
assert is_inside()
done = pathlib.Path(sys.argv[1])
nodes = cluster.get_nodes()
@ray.remote(num_cpus=0, scheduling_strategy="SPREAD")
def wait():
    while not done.exists():
        time.sleep(0.1)
    return ray.util.get_node_ip_address()
waiting = [wait.remote() for _ in range(8)]
print("began", flush=True)
places, dashboard = sorted(set(ray.get(waiting))), cluster.get_ray_dashboard_url()
print(json.dumps({"nodes": nodes, "places": places, "dashboard": dashboard}), flush=True)
time.sleep(1000)
"""


async def scenario(folder: Path) -> dict[str, Any]:
    """Form a cluster, use it, lose its parts, and tell what became of it."""
    short = Path(tempfile.mkdtemp(prefix="nbc"))  # a socket's path has 107 bytes at most
    try:
        return await _scenario(folder, short)
    finally:
        shutil.rmtree(short, ignore_errors=True)


async def _scenario(folder: Path, short: Path) -> dict[str, Any]:
    (folder / "head").mkdir()
    (folder / "node").mkdir()
    (short / "n").mkdir()
    own = {"RAY_TMPDIR": str(short), POD_IP_ENV: _HEAD}
    head = Pod(folder / "head", command=[sys.executable, "-c", _SERVES], cluster=True, variables=own)
    first = await head.until(lambda it: bool(it.dashboard), 400)
    own = {"RAY_TMPDIR": f"{short}/n", POD_IP_ENV: _NODE, LEADER_PORT_ENV: str(STATUS_PORT)}
    node = Pod(folder / "node", head=_HEAD, status_port=_NODE_STATUS, variables=own)
    began = time.monotonic()
    await _until(_joined)
    found: dict[str, Any] = {"join_seconds": time.monotonic() - began, "dashboard": first.dashboard}
    found["tokens"] = [bool(_token("u", 3)), bool(_token("u", 2)), bool(_token("v", 3))]
    found["quiet"] = (await head.until(lambda it: it.unused_seconds > 8, 120)).used_by
    found |= await _use(head, folder, short)
    found["stranger"] = _connects("0" * 64, short)
    _kill("raylet", _NODE)
    await _until(lambda: not _joined())
    await _until(_joined)
    found["after"] = _connects(_token("u", 3), short)
    found["ends"] = [node.stop()["exitCode"], head.stop()["exitCode"]]
    return found


async def _use(head: Pod, folder: Path, short: Path) -> dict[str, Any]:
    """Run tasks for longer than any window, then leave the kernel alone."""
    kernel = subprocess.Popen(  # noqa: ASYNC220 - it begins at once
        [sys.executable, "-c", _KERNEL, str(folder / "done")],
        env=_variables(_token("u", 3), short),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert kernel.stdout is not None
    assert await asyncio.to_thread(kernel.stdout.readline) == "began\n"
    await head.until(lambda it: it.used_by == "a Ray job")
    await asyncio.sleep(10)
    busy = head.activity()
    (folder / "done").touch()
    told = json.loads(await asyncio.to_thread(kernel.stdout.readline))
    idle = await head.until(lambda it: it.unused_seconds > 8, 120)
    alive = kernel.poll() is None
    kernel.kill()
    kernel.wait()
    return {"busy": [busy.unused_seconds, busy.used_by], "told": told, "idle": [idle.unused_seconds, alive]}


def _variables(token: str, short: Path) -> dict[str, str]:
    """Return those of a kernel."""
    task = Notebook("team-a", "alice", "u", 3, PORT, 10, 5, cluster=True)
    login = {"RAY_ADDRESS": f"{_HEAD}:29500", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return {**os.environ, **login, "RAY_TMPDIR": str(short), NOTEBOOK_ENV: task.to_json()}


def _connects(token: str, short: Path) -> bool:
    program = "import ray; ray.init(log_to_driver=False); print('inside', len(ray.nodes()))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=_variables(token, short), capture_output=True, text=True, timeout=90, check=False
    )
    return "inside" in done.stdout


def _token(uid: str, attempt: int) -> str:
    asked = json.dumps({"uid": uid, "attempt": attempt})
    return str(json.loads(ask(_HEAD, STATUS_PORT, "POST", "/token", asked)).get("token", ""))


def _joined() -> bool:
    """Ask as the kubelet does."""
    try:
        ask(_NODE, _NODE_STATUS, "GET", "/joined")
    except OSError:
        return False
    return True


async def _until(holds: Callable[[], bool], seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < end, "it never held"
        await asyncio.sleep(0.2)


def _kill(program: str, mark: str) -> None:
    """Kill a process of Ray's by its name and one of its arguments."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if words[0].endswith(program) and any(mark in word for word in words):
            process.kill()
