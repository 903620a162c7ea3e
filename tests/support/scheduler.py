"""The scheduler of the simulated cluster: by priority, then age; it preempts, and names the machine."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.support.api_server import Json, is_terminal, place_of

#: As the cluster's PriorityClasses say.
PRIORITIES = {"mlpools-placeholder": -10}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


class Cluster(Protocol):
    """What it schedules on.

    Attributes:
        machines: by name, how many pods fit.
        down: machines that take none.
        labels: of machines.
        words: what it says when there is no room, if not the ordinary.
    """

    machines: dict[str, int]
    down: set[str]
    labels: dict[str, dict[str, str]]
    words: str

    def list(self, kind: str) -> list[Json]: ...
    def patch(self, kind: str, namespace: str, name: str, change: object) -> Json: ...
    def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> None: ...
    def set_condition(self, item: Json, name: str, status: str = "True", **words: str) -> Json: ...


class Scheduler:
    """Binds pods to machines, as kube-scheduler does with pods of one size."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def act(self) -> None:
        """Look at each pod without a machine once, in order."""
        for pod in self.turns(sorted(filter(_waits, self._cluster.list("Pod")), key=self.order)):
            machine = self._room_for(pod)
            if machine:
                self._cluster.patch(*place_of(pod), lambda it, to=machine: it["spec"].update(nodeName=to))
                self._cluster.set_condition(pod, "PodScheduled")
                continue
            number = len(self._cluster.machines)
            words = self._cluster.words or f"0/{number} nodes are available: {number} Insufficient cpu."
            self._cluster.set_condition(pod, "PodScheduled", "False", reason="Unschedulable", message=words)
            self._preempt_for(pod)

    def order(self, pod: Json) -> tuple[int, int, str]:
        """Return what pods are sorted by: priority, then age; a test may put something between."""
        return (-priority(pod), 0, str(pod["metadata"]["uid"]))

    def turns(self, waiting: Sequence[Json]) -> Sequence[Json]:
        """Return whose turn it is; a test may leave some for the next time."""
        return waiting

    def _room_for(self, pod: Json) -> str:
        """Return the machine that was named for a pod, or the one with the most room; empty for none."""
        free = self._free(pod)
        named = _named(pod)
        if free.get(named, 0) > 0:
            return named
        return max((name for name in free if free[name] > 0), key=lambda name: free[name], default="")

    def _free(self, pod: Json) -> dict[str, int]:
        """Return by machine the room that is not kept for others of at least this pod's priority."""
        others = [it for it in self._cluster.list("Pod") if it["metadata"]["uid"] != pod["metadata"]["uid"]]
        taken = [it["spec"].get("nodeName") for it in others if not is_terminal(it)]
        taken += [_named(it) for it in others if _waits(it) and priority(it) >= priority(pod)]
        up = sorted(self._cluster.machines.keys() - self._cluster.down)
        up = [name for name in up if self._fits(name, pod)]
        return {name: self._cluster.machines[name] - taken.count(name) for name in up}

    def _fits(self, machine: str, pod: Json) -> bool:
        selector: dict[str, str] = pod["spec"].get("nodeSelector", {})
        if machine in _kept_from(pod["spec"]):
            return False
        return selector.items() <= self._cluster.labels.get(machine, {}).items()

    def _preempt_for(self, pod: Json) -> None:
        """Delete one pod of lower priority, if that makes room, and keep the room for this one."""
        free = self._free(pod)
        lower = [
            it
            for it in self._cluster.list("Pod")
            if free.get(it["spec"].get("nodeName", ""), -1) == 0
            and priority(it) < priority(pod)
            and not is_terminal(it)
            and "deletionTimestamp" not in it["metadata"]
        ]
        if not lower:
            return
        victim = min(lower, key=lambda it: (priority(it), it["metadata"]["uid"]))
        machine = victim["spec"]["nodeName"]
        self._cluster.patch(*place_of(pod), lambda it: it["status"].update(nominatedNodeName=machine))
        self._cluster.delete(*place_of(victim))


class Interleaving(Scheduler):
    """Looks at pods of one priority in any order, and at only some of them each time.

    A real scheduler does so, too: pods that it could not place come again after waits of different length.
    """

    def __init__(self, cluster: Cluster, dice: random.Random) -> None:
        super().__init__(cluster)
        self._dice = dice

    def order(self, pod: Json) -> tuple[int, int, str]:
        return (-priority(pod), self._dice.randrange(1 << 16), str(pod["metadata"]["uid"]))

    def turns(self, waiting: Sequence[Json]) -> Sequence[Json]:
        return waiting[: self._dice.randint(0, len(waiting))]


def priority(pod: Mapping[str, Json]) -> int:
    """Return the priority that a pod's class gives it."""
    return PRIORITIES.get(str(pod["spec"].get("priorityClassName", "")), 0)


def _waits(pod: Json) -> bool:
    return (
        "nodeName" not in pod["spec"] and "deletionTimestamp" not in pod["metadata"] and not is_terminal(pod)
    )


def _kept_from(wanted: Json) -> set[str]:
    """Return the machines that a pod's node affinity excludes by name."""
    required = wanted.get("affinity", {}).get("nodeAffinity", {}).get(_REQUIRED, {})
    fields = [it for term in required.get("nodeSelectorTerms", ()) for it in term.get("matchFields", ())]
    return {name for it in fields for name in it["values"]}


def _named(pod: Json) -> str:
    return str(pod.get("status", {}).get("nominatedNodeName", ""))
