"""Runs of the simulated operator over the simulated cluster, and what must hold at every moment of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mlpools_operator.domain import naming
from tests.support.api_server import Clock, Json, condition, is_terminal
from tests.support.manifests import manifest
from tests.support.operator_sim import OperatorSim
from tests.support.world import World, is_placeholder

NAMESPACE = "team-a"


class Run:
    """One cluster with one pool (``pool`` are fields of its spec), one operator, and any number of jobs.

    Attributes:
        max_nodes: of the pool.
        kind: of jobs that are submitted without saying of which.
        kinds: of the jobs, by name.
    """

    def __init__(self, max_nodes: int = 4, steps: int = 3, **pool: Any) -> None:
        self.kind = "TrainingJob"
        self.kinds: dict[str, str] = {}
        self.clock = Clock()
        self.max_nodes = max_nodes
        self.world = World(self.clock, {"node-a": 8, "node-b": 8}, steps)
        self.world.create(manifest("ComputePool", "cpu", {"maxNodes": max_nodes, **pool}))
        self.operator = OperatorSim(self.world, self.clock)

    def submit(self, name: str, kind: str = "", **changes: Any) -> Json:
        """Create a job; ``changes`` are fields of its spec."""
        kind = self.kinds[name] = kind or self.kind
        job = manifest(kind, name, changes)
        job["metadata"]["namespace"] = NAMESPACE
        return self.world.create(job)

    def change(self, name: str, **changes: Any) -> None:
        """Change fields of a job's spec, as its author does; once it has ended that is refused."""
        kind = self.kinds[name]
        job = self.world.get(kind, NAMESPACE, name)
        if not condition(job, "Complete") and not condition(job, "Failed"):
            self.world.replace_spec(kind, NAMESPACE, name, {**job["spec"], **changes})

    def annotate(self, name: str, key: str, value: str | None, kind: str = "TrainingJob") -> None:
        """Set an annotation of a job or pool, or take it away."""
        place = (kind, "" if kind == "ComputePool" else NAMESPACE, name)

        def change(item: Json) -> None:
            annotations = {**item["metadata"].get("annotations", {}), key: value}
            kept = {key: value for key, value in annotations.items() if value is not None}
            item["metadata"]["annotations"] = kept

        self.world.patch(*place, change)

    def status(self, name: str) -> Json:
        kind = self.kinds.get(name, "TrainingJob")  # a schedule's runs are not known here
        status: Json = self.world.get(kind, NAMESPACE, name).get("status", {})
        return status

    def use(self, name: str) -> None:
        """Do something in a notebook."""
        self.operator.used[self._uid(name)] = self.clock()

    def hide(self, name: str) -> None:
        """Let nobody see any more whether a notebook is used."""
        self.operator.used[self._uid(name)] = None

    def _uid(self, name: str) -> str:
        return str(self.world.get(self.kinds[name], NAMESPACE, name)["metadata"]["uid"])

    def delete(self, name: str) -> None:
        self.world.delete(self.kinds[name], NAMESPACE, name)

    def pods(self, name: str) -> list[Json]:
        return self.world.pods(name)

    def placeholders(self, pool: str = "cpu") -> list[Json]:
        """The pods that keep nodes of a pool warm."""
        mine = (it for it in self.world.list("Pod") if it["metadata"]["labels"][naming.POOL] == pool)
        return [pod for pod in mine if is_placeholder(pod)]

    def round(self) -> float | None:
        """Let everybody work once: the operator first, then the cluster."""
        due = self.operator.pass_all()
        self.check()
        for act in self.world.actors.values():
            act()
            self.check()
        return due

    def go(self, rounds: int, seconds: float = 1.0) -> None:
        for _ in range(rounds):
            self.round()
            self.clock.advance(seconds)

    def until(self, name: str, phase: str, rounds: int = 60) -> Json:
        """Go on until a job is in a phase."""
        for _ in range(rounds):
            if self.status(name).get("phase") == phase:
                return self.status(name)
            self.round()
            self.clock.advance(1)
        raise AssertionError(f"{name} is not {phase} but {self.status(name)}")

    def settle(self, rounds: int = 600) -> None:
        """Go on until nothing changes and nobody wants another look."""
        for _ in range(rounds):
            before = self.world.pulse
            due = self.round()
            if self.world.pulse != before:
                self.clock.advance(1)
            elif due is None:
                return
            else:
                self.clock.advance(max(1.0, due))
        raise AssertionError(f"it never settles: {self.operator.plans[-4:]}")

    def check(self) -> None:
        """Check what must hold whatever happened.

        Raises:
            AssertionError: more nodes are held than the pool has, or a job runs twice.
        """
        living = [pod for pod in self.world.list("Pod") if not is_terminal(pod)]
        held = Counter(pod["metadata"]["labels"][naming.POOL] for pod in living if not is_placeholder(pod))
        assert not held or max(held.values()) <= self.max_nodes, held
        live = Counter(
            job["metadata"]["labels"][naming.JOB_UID]
            for job in self.world.list("Job")
            if not condition(job, "Complete") and not condition(job, "Failed")
        )
        assert not live or max(live.values()) == 1, live
        served = Counter(
            pod["metadata"]["labels"][naming.JOB_UID]
            for pod in living
            if pod["metadata"]["labels"].get(naming.PART) == naming.SERVER
        )
        assert not served or max(served.values()) == 1, served
