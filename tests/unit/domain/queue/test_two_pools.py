"""Pools whose gangs need the same machines: each gets some of them, and all have to end all the same."""

from __future__ import annotations

import pytest

from tests.support.api_server import Clock, Json
from tests.support.job_controller import index_of
from tests.support.manifests import manifest
from tests.support.operator_sim import OperatorSim
from tests.support.scheduler import Scheduler
from tests.support.world import World

JOBS = {"first": "cpu", "second": "other"}


class ByRank(Scheduler):
    """Places all pods of rank 0 before those of rank 1, which is the worst for gangs."""

    def order(self, pod: Json) -> tuple[int, int, str]:
        return (0, index_of(pod), str(pod["metadata"]["uid"]))


class Halving(World):
    """A cluster in which gangs that start together get half of their nodes each."""

    def __init__(self, clock: Clock, room: int) -> None:
        super().__init__(clock, {"node-a": room})
        self.scheduler = ByRank(self)

    def submit(self, name: str, **changes: object) -> None:
        job = manifest("TrainingJob", name, {"nodes": 2, "computePool": JOBS[name], **changes})
        job["metadata"]["namespace"] = "team-a"
        self.create(job)

    def status(self, name: str) -> Json:
        status: Json = self.get("TrainingJob", "team-a", name).get("status", {})
        return status

    def placed(self, name: str) -> list[bool]:
        return [bool(pod["spec"].get("nodeName")) for pod in self.pods(name)]


@pytest.mark.parametrize("backoff", [1, 10, 300])
def test_two_half_gangs_give_up_and_both_end(backoff: int) -> None:
    """They start and give up at the same moments, so only their back-off can tell them apart.

    Neither makes room for the other, since what this scheduler says is not about room.
    """
    clock = Clock()
    world = Halving(clock, room=2)
    world.words = "waiting for the gang"
    for name, pool in JOBS.items():
        world.create(manifest("ComputePool", pool, {"maxNodes": 2}))
        world.submit(name, restartBackoffSeconds=backoff)
    operator, halved = OperatorSim(world, clock), 0
    for _ in range(4000):
        operator.pass_all()
        for act in world.actors.values():
            act()
        halved += all(world.placed(name) == [True, False] for name in JOBS)
        clock.advance(1)
        if all(world.status(name).get("phase") == "Succeeded" for name in JOBS):
            break
    assert [world.status(name)["phase"] for name in JOBS] == ["Succeeded", "Succeeded"]
    assert halved, "they never got in each other's way"
    assert all(world.status(name)["restarts"] == 0 for name in JOBS)
