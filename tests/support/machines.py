"""Plays the machines of a cluster: Nodes that report ready and have room, for a real scheduler."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from tests.support.kube import Kube, Object

#: The node lifecycle controller gives a machine up after 50 s of silence.
_BEAT_SECONDS = 5.0


class Machines:
    """The machines of one test; while it is open they send heartbeats, at its end they are gone."""

    def __init__(self, kube: Kube) -> None:
        self._kube = Kube(kube.server, kube.ca, kube.token)  # of the thread's own
        self._names: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Machines:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for name in list(self._names):
            self.remove(name)
        self._kube.close()

    def add(self, name: str, cpu: str = "4", memory: str = "16Gi", *, taint: str = "", **labels: str) -> None:
        """Let a machine join, with that much for pods, and a taint of that key that keeps pods away."""
        room = {"cpu": cpu, "memory": memory, "pods": "110"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": f"host-of-{name}", **labels}},
            "spec": {"taints": [{"key": taint, "effect": "NoSchedule"}] if taint else []},
            "status": {"capacity": room, "allocatable": room, "conditions": [_ready()]},
        }
        with self._lock:
            self._kube.create(node)
            self._names.append(name)

    def remove(self, name: str) -> None:
        """Take a machine out of the cluster."""
        with self._lock:
            self._names.remove(name)
            self._kube.delete("Node", name)

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            with self._lock:
                for name in self._names:
                    self._kube.patch("Node", name, {"status": {"conditions": [_ready()]}}, "", "status")


def _ready() -> Object:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    about = {"reason": "KubeletReady", "message": "", "lastHeartbeatTime": now, "lastTransitionTime": now}
    return {"type": "Ready", "status": "True", **about}
