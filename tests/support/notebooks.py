"""Notebooks for the end-to-end tests: made, opened as a person opens them, and used through Jupyter's API."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from mlpools_operator.domain import times
from tests.support.forwarding import forwarded
from tests.support.relay import relayed
from tests.support.training import Object, Training
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl

PORT = 8888
#: A training on a part of the flights, whose model goes to the workspace.
TRAINING = """
from mlpools.data import DataConnector
from mlpools.train import XGBEstimator

flights = DataConnector.from_parquet("/data/flights/train/part-0.parquet")
estimator = XGBEstimator(10, params={"max_depth": 4})
booster = estimator.fit(flights, ["distance", "hour"], "arr_delay")
booster.save_model("/workspace/model.ubj")
print("trained", booster.num_boosted_rounds(), "rounds")
"""
_NODE = {"cpu": "1", "memory": "2Gi"}


class Jupyter:
    """A server of Jupyter, as its API shows it to who has the token.

    Attributes:
        url: where it is, without a slash at the end.
        token: that opens it.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def kernel(self) -> str:
        """Start a kernel and return its name."""
        return str(asyncio.run(self._call("POST", "/api/kernels"))["id"])

    def run(self, kernel: str, code: str, *, seconds: float = 120) -> str:
        """Run a cell to its end and return what it printed.

        Raises:
            AssertionError: it raised an error.
        """
        return asyncio.run(asyncio.wait_for(self._run(kernel, code), seconds))

    def document(self, path: str) -> Object:
        """Return what there is at a path of the workspace."""
        return asyncio.run(self._call("GET", f"/api/contents/{path}?content=0"))

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self.url, headers={"Authorization": f"token {self.token}"})

    async def _call(self, method: str, path: str) -> Object:
        async with self._session() as session, session.request(method, path) as answer:
            assert answer.status < 300, (path, answer.status, await answer.text())
            found: Object = await answer.json()
            return found

    async def _run(self, kernel: str, code: str) -> str:
        printed = ""
        path = f"/api/kernels/{kernel}/channels"
        async with self._session() as session, session.ws_connect(path) as channel:
            await channel.send_json(_execute(code))
            async for message in channel:
                said = message.json()
                kind, content = said["msg_type"], said["content"]
                if kind == "status" and content["execution_state"] == "restarting":
                    break
                if said["parent_header"].get("msg_id") != _MESSAGE:
                    continue
                if kind == "stream" and content["name"] == "stdout":
                    printed += content["text"]
                assert kind != "error", (content, printed)
                if kind == "status" and content["execution_state"] == "idle":
                    return printed
        raise AssertionError(f"the kernel hung up: {printed}")


_MESSAGE = "cell"


def _execute(code: str) -> Object:
    header = {"msg_id": _MESSAGE, "msg_type": "execute_request", "session": "s", "username": ""}
    return {
        "header": {**header, "version": "5.4"},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False},
        "channel": "shell",
        "buffers": [],
    }


class Notebooks(Training):
    """The pools and NotebookRuntimes of one test."""

    kind = "NotebookRuntime"

    def __init__(self, cluster: Kubectl, volume: Path, instance: Instance) -> None:
        super().__init__(cluster, volume)
        self.instance = instance

    def submit(self, name: str, *, nodes: int = 1, **spec: Any) -> None:
        """Apply a notebook that sees the flights; keywords replace top-level fields of its spec."""
        assert nodes == 1, "a notebook has one node"
        made = {
            "computePool": "notebooks",
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            **spec,
        }
        if "notebooks" not in self._pools:
            self.make_pool("notebooks", instance=_NODE, maxNodes=2)
        self._names.append(name)
        meta = {"name": name}
        notebook = {"apiVersion": "mlpools.dev/v1alpha1", "kind": self.kind, "metadata": meta, "spec": made}
        self.cluster.apply(json.dumps(notebook), namespace=self.namespace)

    def starts(self, name: str) -> Object:
        """Wait until it serves, and return its status."""
        return self.until(name, phase="Running", seconds=180)

    def ask_to_start(self, name: str) -> None:
        """Start one that rests, with the command that its own message and the docs name."""
        stopped = times.seconds(self.status(name)["stoppedAt"])
        wish = f"mlpools.dev/start-requested-at={times.stamp(max(time.time(), stopped + 1))}"
        where = f"--namespace={self.namespace}"
        self.cluster.run("annotate", "--overwrite", self.kind, name, wish, where)

    def token(self, name: str) -> str:
        """What opens it, out of the Secret that its status names."""
        secret = self.cluster.get("secret", self.status(name)["tokenSecret"], self.namespace)
        assert secret is not None
        return base64.b64decode(secret["data"]["token"]).decode()

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Jupyter]:
        """Reach it as a person does, with the token, while the block runs."""
        (pod,) = self.at_work(name)
        with forwarded(self.cluster, pod, PORT, namespace=self.namespace) as (url,):
            yield Jupyter(url, self.token(name))

    @contextlib.contextmanager
    def before_a_browser(self, name: str) -> Iterator[Jupyter]:
        """The same for a browser, with its many connections."""
        (address,) = (it["status"]["podIP"] for it in self.pods(name) if it["status"]["phase"] == "Running")
        with relayed(self.instance, address, PORT) as url:
            yield Jupyter(url, self.token(name))

    def remove(self) -> None:
        """Delete the notebooks with their workspaces, and the pools."""
        names = list(self._names)
        super().remove()
        for name in names:
            self.cluster.delete("persistentvolumeclaim", f"nb-{name}-workspace", namespace=self.namespace)
