"""Kubelets and scheduler for thousands of pods that run nothing: `python -m bench.scale.pods server ca`.

Each pod of ours gets a machine, runs and is ready, and goes when it is told to; what its supervisor would
tell is answered for all of a kind at one address. The administrator's token comes by standard input. It is a
process of its own, so that it takes no time from what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bench.scale.watch import watch
from mlpools.contract.reports import Activity, Report
from mlpools.contract.wiring import STATUS_PORT
from mlpools_operator.domain.naming import KIND, SELECTOR
from tests.support.kube import ApiError, Kube
from tests.support.kubelet import running

#: Of the pods of jobs, and of those of notebooks.
ADDRESS, NOTEBOOKS = "127.0.0.1", "127.0.0.2"
_WORKERS = 6
_PODS = "/api/v1/pods"
_ANSWERS = {
    ADDRESS: Report(phase="Training", step=3, total_steps=100).to_json().encode(),
    # One that is used all the time: each look is news.
    NOTEBOOKS: Activity(attempt=1, serving=True, unused_seconds=0, untouched_seconds=0).to_json().encode(),
}


class Kubelets:
    """Starts pods as they come, and lets go those that are deleted."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._seen: set[tuple[str, str]] = set()
        self._work: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()

    def run(self) -> None:
        """Follow the pods until the process is ended."""
        for _ in range(_WORKERS):
            threading.Thread(target=self._worker, daemon=True).start()
        while True:
            for event, pod in watch(self._kube, _PODS, labelSelector=SELECTOR):
                if event != "DELETED":
                    self._take(pod)

    def _take(self, pod: dict[str, Any]) -> None:
        """Queue what is to be done with a pod, once."""
        meta = pod["metadata"]
        what = "let go" if "deletionTimestamp" in meta else "start"
        if (what, meta["uid"]) in self._seen or (what == "start" and "nodeName" in pod["spec"]):
            return
        self._seen.add((what, meta["uid"]))
        self._work.put((what, pod))

    def _worker(self) -> None:
        kube = Kube(self._kube.server, self._kube.ca, self._kube.token)
        while True:
            what, pod = self._work.get()
            space, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            try:
                if what == "let go":
                    kube.delete("Pod", name, space, grace=0)
                else:
                    notebook = pod["metadata"]["labels"].get(KIND) == "NotebookRuntime"
                    address = NOTEBOOKS if notebook else ADDRESS
                    machine = {"kind": "Node", "name": f"of-{name}"[:63]}
                    binding = {"metadata": {"name": name}, "target": machine}
                    kube.request("POST", f"/api/v1/namespaces/{space}/pods/{name}/binding", binding)
                    kube.patch("Pod", name, {"status": running(_now(), address)}, space, "status")
            except ApiError as error:
                if error.code not in (404, 409):
                    raise


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tell how far a training is, which never writes a status twice, or how a notebook is used."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # who asked did not wait
        await reader.readuntil(b"\r\n\r\n")
        answer = _ANSWERS[writer.get_extra_info("sockname")[0]]
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer))
        await writer.drain()
    writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, list(_ANSWERS), STATUS_PORT)
    await server.serve_forever()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def main() -> None:
    """Run until killed."""
    server, ca = sys.argv[1:]
    kube = Kube(server, Path(ca), sys.stdin.readline().strip())
    threading.Thread(target=Kubelets(kube).run, daemon=True).start()
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
