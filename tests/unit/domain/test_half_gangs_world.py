"""Gangs of several pools on too few machines, before a scheduler that places pods in any order."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlpools_operator.domain.pool.half_gangs import STUCK_SECONDS
from tests.support.api_server import Json, is_terminal
from tests.support.domain_run import Run
from tests.support.job_controller import index_of
from tests.support.manifests import manifest
from tests.support.scheduler import Interleaving, Scheduler

#: A day: nothing but the rule may end what stands still.
PATIENCE = {"maxNodes": 6, "capacityTimeoutSeconds": 86_400}
POOLS = ("cpu", "gpu", "third")


class Shared(Run):
    """Some pools on the same machines, with gangs that all want them.

    Attributes:
        longest: for how many seconds more than one gang stood still.
    """

    def __init__(self, room: int, gangs: list[int], dice: random.Random) -> None:
        super().__init__(6, steps=5, **PATIENCE)
        for pool in POOLS[1:]:
            self.world.create(manifest("ComputePool", pool, PATIENCE))
        self.world.machines = {f"node-{number}": 1 for number in range(room)}
        self.world.scheduler = Interleaving(self.world, dice)
        self.names = [f"job-{number}" for number in range(len(gangs))]
        self._dice = dice
        self.longest = 0.0
        self._placed: dict[str, tuple[int, float]] = {}
        for number, (name, nodes) in enumerate(zip(self.names, gangs, strict=True)):
            self.submit(name, nodes=nodes, computePool=POOLS[number % len(POOLS)])

    def turn(self) -> None:
        """Let a second pass in which everybody works, the cluster in any order."""
        self.operator.pass_all()
        actors = list(self.world.actors.values())
        self._dice.shuffle(actors)
        for act in actors:
            act()
        self._look()
        self.clock.advance(1)

    @property
    def done(self) -> bool:
        return all(self.status(name).get("phase") == "Succeeded" for name in self.names)

    def _look(self) -> None:
        """See for how long more than one gang has got no further machine."""
        now, still = self.clock(), []
        for name in self.names:
            number = self._stands_still_with(name)
            if number != self._placed.get(name, (None, 0.0))[0]:
                self._placed[name] = (number, now)
            if number:
                still.append(now - self._placed[name][1])
        self.longest = max([self.longest, *sorted(still)[:-1]])

    def _stands_still_with(self, name: str) -> int:
        """Return the machines of a gang that lacks others, 0 if it has all or none, or goes."""
        pods = [pod for pod in self.pods(name) if "deletionTimestamp" not in pod["metadata"]]
        placed = sum("nodeName" in pod["spec"] for pod in pods)
        return placed if placed < len(pods) and not any(is_terminal(pod) for pod in pods) else 0


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(2, 5), min_size=2, max_size=5), st.integers(0, 2**32))
def test_of_half_gangs_exactly_one_goes_on_and_all_end(gangs: list[int], seed: int) -> None:
    run = Shared(max(gangs), gangs, random.Random(seed))
    for _ in range(3000):
        run.turn()
        if run.done:
            break
    assert run.done, {name: run.status(name) for name in run.names}
    assert run.longest <= STUCK_SECONDS + 2
    assert all(run.status(name)["restarts"] == 0 for name in run.names)


class ByRank(Scheduler):
    """Places all pods of rank 0 before those of rank 1, so that each gang gets a machine."""

    def order(self, pod: Json) -> tuple[int, int, str]:
        return (0, index_of(pod), str(pod["metadata"]["uid"]))


@pytest.mark.parametrize("restarts", [False, True])
def test_the_younger_ones_give_way_at_once_and_say_for_whom(restarts: bool) -> None:
    """Three gangs of three on three machines: each gets one."""
    run = Shared(3, [3, 3, 3], random.Random(1))
    run.world.scheduler = ByRank(run.world)
    for _ in range(int(STUCK_SECONDS) + 4):
        run.turn()
        if restarts:
            run.operator.restart()
    first, *others = (run.status(name) for name in run.names)
    assert (first["phase"], first["attempt"]) == ("Starting", 1)
    for status in others:
        assert (status["phase"], status["reason"], status["restarts"]) == ("Queued", "Unschedulable", 0)
        assert "lackedCapacity" not in status, "that says nothing about the pool's machines"
    admitted = next(it for it in others[0]["conditions"] if it["type"] == "Admitted")
    assert admitted["message"].startswith(
        "No machine for 2 of 3 pods, and none came for 20 s. It makes room for job-0 (pool cpu), which was "
        "admitted before it and lacks machines too. Its nodes are free for others; it queues again in 1"
    )
    for _ in range(10):
        run.turn()
    assert run.status("job-0")["phase"] in ("Running", "Succeeded")


@pytest.mark.parametrize("words", ["0/3 nodes are available: 3 node(s) had volume node affinity conflict."])
def test_nobody_makes_room_for_one_whom_room_does_not_help(words: str) -> None:
    run = Shared(3, [3, 3, 3], random.Random(1))
    run.world.scheduler = ByRank(run.world)
    run.world.words = words
    for _ in range(int(STUCK_SECONDS) * 3):
        run.turn()
    assert {(run.status(name)["phase"], run.status(name)["attempt"]) for name in run.names} == {
        ("Starting", 1)
    }


@pytest.mark.parametrize(
    ("disclose", "who"),
    [("Names", "first (team-b)"), ("Counts", "a job of another namespace (pool cpu)")],
)
def test_jobs_of_other_namespaces_are_named_as_the_pool_says(disclose: str, who: str) -> None:
    run = Shared(2, [], random.Random(1))
    own = {**PATIENCE, "queue": {"disclose": disclose}}
    run.world.replace_spec("ComputePool", "", "cpu", manifest("ComputePool", "cpu", own)["spec"])
    run.world.scheduler = ByRank(run.world)
    job = manifest("TrainingJob", "first", {"nodes": 2})
    job["metadata"]["namespace"] = "team-b"
    run.world.create(job)
    run.submit("second", nodes=2)
    for _ in range(int(STUCK_SECONDS) + 4):
        run.turn()
    (message,) = [it["message"] for it in run.status("second")["conditions"] if it["type"] == "Admitted"]
    assert f"It makes room for {who}, which" in message
