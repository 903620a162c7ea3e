"""A notebook's cluster of three nodes, used from its kernels, whose parts are lost one after another.

Its pods share one network here; each has an address of its own. What a cluster's DNS says stands in a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlpools.contract.wiring import LEADER_PORT_ENV, POD_IP_ENV
from mlpools.supervisor.status import ask
from tests.support import kernels
from tests.support.flights import write_flights
from tests.support.notebook_pod import STATUS_PORT, Pod

_HEAD = "nb-alice-cluster"
_SIOCSIFADDR = 0x8916
_SECONDS = 400.0
_NODES = "from mlpools import cluster; print('NODES', sorted(it['name'] for it in cluster.get_nodes()))"
#: Trains as a person does; tells where Ray put the ranks, and how the model does on rows that it did not see.
_TRAIN = """
import json
from pathlib import Path
import numpy, pyarrow.parquet
from ray._private import state
from mlpools import cluster
from mlpools.data import DataConnector
from mlpools.train import LightGBMEstimator, XGBEstimator
folder, found, nodes = Path({folder!r}), {{}}, cluster.get_nodes()
held_out = pyarrow.parquet.read_table(folder / "eval.parquet")
for kind in (XGBEstimator, LightGBMEstimator):
    known = set(state.actors())
    train = DataConnector.from_parquet(f"{{folder}}/train/*.parquet")
    model = kind(20, params={{"learning_rate": 0.3}})
    model.fit(train, label_col="arr_delay", eval_set=DataConnector.from_parquet(f"{{folder}}/eval.parquet"))
    places = sorted(it["Address"]["IPAddress"] for key, it in state.actors().items() if key not in known)
    wrong = model.predict(held_out)["prediction"].to_numpy() - held_out["arr_delay"].to_numpy()
    found[kind.__name__] = [places, float(numpy.sqrt(numpy.mean(wrong**2)))]
print("TOLD", json.dumps(found))
"""
_TORCH = """
import json
from pathlib import Path
from mlpools.train import PyTorchDistributor, PyTorchScalingConfig, WorkerResourceConfig
def line():
    import os, json, torch, torch.distributed as dist
    from pathlib import Path
    from mlpools.train.pytorch import get_context
    context = get_context()
    dist.init_process_group(context.get_default_backend())
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.linspace(-1, 1, 30)[context.get_rank()::context.get_world_size()].unsqueeze(1)
    for step in range(200):
        loss = (model(x) - (3 * x + 1)).pow(2).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    places = [None] * context.get_world_size()
    dist.all_gather_object(places, os.environ["MLPOOLS_POD_IP"])
    if context.get_rank() == 0:
        weights = [it.item() for it in model.parameters()]
        Path(context.get_model_dir(), "told").write_text(json.dumps([sorted(places), *weights]))
done = PyTorchDistributor(line, PyTorchScalingConfig(3, 1, WorkerResourceConfig(num_cpus=1))).run()
print("TOLD", Path(done.get_model_dir(), "told").read_text())
"""


class Machines:
    """One machine for each pod.

    Attributes:
        folder: for what pods leave.
    """

    def __init__(self, folder: Path, short: Path) -> None:
        self.folder, self._short = folder, short
        self._hosts = folder / "hosts"
        self._hosts.touch()

    def pod(self, number: int, **task: Any) -> Pod:
        """Start a pod; ``number`` is the end of its address."""
        _give_address(number)
        own, short = self.folder / str(number), self._short / str(number)
        own.mkdir()
        short.mkdir()
        place = {"RAY_TMPDIR": str(short), POD_IP_ENV: _address(number), LEADER_PORT_ENV: str(STATUS_PORT)}
        port = STATUS_PORT if task.get("cluster") else STATUS_PORT + number
        return Pod(own, status_port=port, variables=place, **task)

    async def head(self, number: int) -> Pod:
        """Start the notebook's own pod, which DNS knows at once, and wait until it serves."""
        self._hosts.write_text(f"127.0.0.1 localhost\n{_address(number)} {_HEAD}\n")
        await asyncio.to_thread(subprocess.run, ["mount", "--bind", self._hosts, "/etc/hosts"], check=True)
        pod = self.pod(number, args=["--allow-root"], cluster=True)
        await pod.until(lambda it: it.serving and bool(it.dashboard), _SECONDS)
        return pod

    def node(self, number: int) -> Pod:
        """Start a further node."""
        return self.pod(number, head=_HEAD)


async def scenario(folder: Path) -> dict[str, Any]:
    """Train over three nodes; lose the control store, a node, and the notebook's own pod."""
    short = Path(tempfile.mkdtemp(prefix="nbc"))  # a socket's path has 107 bytes at most
    try:
        return await _scenario(Machines(folder, short))
    finally:
        shutil.rmtree(short, ignore_errors=True)


async def _scenario(machines: Machines) -> dict[str, Any]:
    flights = machines.folder / "flights"
    write_flights(flights, 2_000)
    head = await machines.head(2)
    pods = {number: machines.node(number) for number in (3, 4)}
    await _joined(3, 4)
    found: dict[str, Any] = {"formed": await _nodes()}
    found["trained"] = _told(await _say(_TRAIN.format(folder=str(flights))))
    found["torch"] = _told(await _say(_TORCH))

    _kill(lambda words, _: words[0].endswith("gcs_server"))
    await _until(lambda: not (_is_joined(3) or _is_joined(4)))
    await _joined(3, 4)
    found["store"] = await _nodes()

    _lose(3)
    pods[5] = machines.node(5)
    await _joined(5)
    found["node"] = await _nodes_until(lambda seen: _address(3) not in seen)

    _lose(2)
    head.process.wait()
    head = await machines.head(6)
    await _joined(4, 5)
    found["head"] = await _nodes()
    found["ends"] = [pods[4].stop()["exitCode"], pods[5].stop()["exitCode"], head.stop()["exitCode"]]
    return found


def _address(number: int) -> str:
    return f"127.0.0.{number}"


def _give_address(number: int) -> None:
    """Have an address be this machine's own, as LightGBM wants to find it."""
    packed = socket.inet_aton(_address(number))
    request = struct.pack("16sHH4s8x", f"lo:{number}".encode(), socket.AF_INET, 0, packed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFADDR, request)


async def _say(cell: str) -> str:
    return await kernels.say([cell], _SECONDS)


async def _nodes() -> list[str]:
    """Return the nodes that a new kernel sees."""
    said = await _say(_NODES)
    return [word.strip("',[]") for word in said[said.rindex("NODES") :].split()[1:]]


async def _nodes_until(holds: Callable[[list[str]], bool]) -> list[str]:
    end = time.monotonic() + _SECONDS
    while not holds(seen := await _nodes()):
        assert time.monotonic() < end, f"it never held: {seen}"
    return seen


def _told(said: str) -> Any:
    assert "TOLD" in said, said
    return json.loads(said[said.rindex("TOLD") + 4 :].splitlines()[0])


def _is_joined(number: int) -> bool:
    """Ask as the kubelet does."""
    try:
        ask(_address(number), STATUS_PORT + number, "GET", "/joined")
    except OSError:
        return False
    return True


async def _joined(*numbers: int) -> None:
    await _until(lambda: all(_is_joined(number) for number in numbers))


async def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < end, "it never held"
        await asyncio.sleep(0.1)


def _lose(number: int) -> None:
    """Kill all of a pod at once, as the loss of its machine does."""
    mark = f"{POD_IP_ENV}={_address(number)}"
    _kill(lambda _, environ: mark in environ)


def _kill(chosen: Callable[[list[str], list[str]], bool]) -> None:
    """Kill processes by their words and variables."""
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            words, environ = (
                (path / name).read_bytes().decode().split("\0") for name in ("cmdline", "environ")
            )
            if words[0] and chosen(words, environ):
                os.kill(int(path.name), signal.SIGKILL)
