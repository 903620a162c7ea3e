"""Plays a cluster autoscaler: a machine for each pod that finds no room, and none that stands empty for long.

It knows one kind of machine, on which one pod of the tested pool fits. As cluster-autoscaler does, it looks
at pending pods down to a priority of -10, and gives a machine up some time after its last pod has gone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.support.kube import ApiError, Kube, Object
from tests.support.kubelet import Kubelet
from tests.support.machines import Machines
from tests.support.waiting import wait_for

CUTOFF = -10
_EMPTY_SECONDS = 2.0
T = TypeVar("T")


class Autoscaler:
    """Brings and removes machines, and plays the kubelet of each pod that got one.

    Attributes:
        most: machines that were there at once.
    """

    def __init__(self, kube: Kube, machines: Machines, cpu: str, memory: str, **labels: str) -> None:
        self._kube, self._machines, self._size, self._labels = kube, machines, (cpu, memory), labels
        self._made = 0
        self._used: dict[str, float] = {}
        self.most = 0

    @property
    def machines(self) -> list[str]:
        """Names of the machines that there are now."""
        return sorted(self._used)

    def until(self, what: str, look: Callable[[], T | None], seconds: float = 60) -> T:
        """Act until something holds, and return it."""

        def act() -> T | None:
            self.act()
            return look()

        return wait_for(what, act, seconds)

    def act(self) -> None:
        """Look at all pods once."""
        pods = [pod for pod in self._kube.list("Pod") if pod["status"]["phase"] in ("Pending", "Running")]
        for pod in pods:
            self._tend(pod)
        busy = {pod["spec"].get("nodeName") for pod in pods}
        now = time.monotonic()
        for name in self._used:
            if name in busy:
                self._used[name] = now
        waiting = sum(_lacks_a_machine(pod) and self._suits(pod) for pod in pods)
        free = sum(name not in busy for name in self._used)
        for _ in range(max(0, waiting - free)):
            self._add(now)
        if not waiting:
            for name in [name for name, since in self._used.items() if now - since > _EMPTY_SECONDS]:
                self._machines.remove(name)
                del self._used[name]

    def _add(self, now: float) -> None:
        self._made += 1
        name = f"auto-{self._made}"
        self._machines.add(name, *self._size, **self._labels)
        self._used[name] = now
        self.most = max(self.most, len(self._used))

    def _suits(self, pod: Object) -> bool:
        return bool(pod["spec"].get("nodeSelector", {}).items() <= self._labels.items())

    def _tend(self, pod: Object) -> None:
        """Start what was bound, and let go what is being deleted."""
        space = pod["metadata"]["namespace"]
        with contextlib.suppress(ApiError):  # it went meanwhile
            if "deletionTimestamp" in pod["metadata"]:
                self._kube.delete("Pod", pod["metadata"]["name"], space, grace=0)
            elif pod["spec"].get("nodeName") and pod["status"]["phase"] == "Pending":
                Kubelet(self._kube, space).start(pod, pod["spec"]["nodeName"])


def _lacks_a_machine(pod: Object) -> bool:
    conditions: list[dict[str, Any]] = pod["status"].get("conditions", [])
    reasons = {it.get("reason") for it in conditions if it["type"] == "PodScheduled"}
    waits = "Unschedulable" in reasons and not pod["spec"].get("nodeName")
    return waits and pod["spec"].get("priority", 0) >= CUTOFF
