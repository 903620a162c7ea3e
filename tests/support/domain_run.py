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
    """

    def __init__(self, max_nodes: int = 4, steps: int = 3, **pool: Any) -> None:
        self.clock = Clock()
        self.max_nodes = max_nodes
        self.world = World(self.clock, {"node-a": 8, "node-b": 8}, steps)
        self.world.create(manifest("ComputePool", "cpu", {"maxNodes": max_nodes, **pool}))
        self.operator = OperatorSim(self.world, self.clock)

    def submit(self, name: str, **changes: Any) -> Json:
        """Create a TrainingJob; ``changes`` are fields of its spec."""
        job = manifest("TrainingJob", name, changes)
        job["metadata"]["namespace"] = NAMESPACE
        return self.world.create(job)

    def change(self, name: str, **changes: Any) -> None:
        """Change fields of a TrainingJob's spec, as its author does; once it has ended that is refused."""
        job = self.world.get("TrainingJob", NAMESPACE, name)
        if not condition(job, "Complete") and not condition(job, "Failed"):
            self.world.replace_spec("TrainingJob", NAMESPACE, name, {**job["spec"], **changes})

    def annotate(self, name: str, key: str, value: str | None, kind: str = "TrainingJob") -> None:
        """Set an annotation of a job or pool, or take it away."""
        place = (kind, NAMESPACE if kind == "TrainingJob" else "", name)

        def change(item: Json) -> None:
            annotations = {**item["metadata"].get("annotations", {}), key: value}
            kept = {key: value for key, value in annotations.items() if value is not None}
            item["metadata"]["annotations"] = kept

        self.world.patch(*place, change)

    def status(self, name: str) -> Json:
        status: Json = self.world.get("TrainingJob", NAMESPACE, name).get("status", {})
        return status

    def delete(self, name: str) -> None:
        self.world.delete("TrainingJob", NAMESPACE, name)

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
