"""Machines go from hand to hand between two pools, and no gang is left with half of them."""

from __future__ import annotations

import random
from collections import defaultdict

from mlpools_operator.domain import naming
from tests.support.api_server import is_terminal
from tests.support.domain_run import Run
from tests.support.manifests import manifest
from tests.support.scheduler import Interleaving
from tests.support.world import is_placeholder

GANG = 3
PATIENCE = 30.0
HAND_OVERS = 200


class Halves:
    """Since when each gang has had machines for some of its pods only."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._since: dict[str, float] = {}
        self.longest = 0.0

    def look(self) -> None:
        gangs: dict[str, list[bool]] = defaultdict(list)
        for pod in self._run.world.list("Pod"):
            if not is_placeholder(pod) and not is_terminal(pod):
                labels = pod["metadata"]["labels"]
                gangs[f"{labels[naming.JOB_NAME]}-{labels[naming.ATTEMPT]}"].append("nodeName" in pod["spec"])
        now = self._run.clock()
        halves = {name for name, placed in gangs.items() if any(placed) and not all(placed)}
        self._since = {name: self._since.get(name, now) for name in halves}
        self.longest = max([self.longest, *(now - since for since in self._since.values())])


def two_pools() -> Run:
    """Return a cluster with room for one gang and two warm pools that both want it."""
    run = Run(max_nodes=GANG, minNodes=GANG, autoSuspendSeconds=0)
    run.world.machines = {"node-a": 1, "node-b": GANG - 1}
    run.world.create(
        manifest("ComputePool", "gpu", {"maxNodes": GANG, "minNodes": GANG, "autoSuspendSeconds": 0})
    )
    return run


def turn(run: Run, dice: random.Random, halves: Halves) -> None:
    """Let a second pass in which everybody works, the cluster in any order."""
    run.operator.pass_all()
    actors = list(run.world.actors.values())
    dice.shuffle(actors)
    for act in actors:
        act()
        halves.look()
    run.clock.advance(1)


def test_between_a_gang_and_placeholders_nobody_gets_half() -> None:
    """A job comes to one pool while the other's runs; between two, placeholders fill the room."""
    run, dice = two_pools(), random.Random(7)
    halves = Halves(run)

    def until(name: str, *phases: str) -> None:
        for _ in range(60):
            if run.status(name).get("phase") in phases:
                return
            turn(run, dice, halves)
        raise AssertionError(f"{name} is not {phases} but {run.status(name)}")

    for number in range(HAND_OVERS // 4):
        run.submit(f"job-{number}", nodes=GANG, computePool=("cpu", "gpu")[number % 2])
        if number % 3:  # the next one finds the room held by a job, else by placeholders
            until(f"job-{number}", "Running", "Succeeded")
        else:
            until(f"job-{number}", "Succeeded")
        if number > 1:
            done = run.status(f"job-{number - 2}")
            assert (done["phase"], done["attempt"], done["restarts"]) == ("Succeeded", 1, 0)
            run.delete(f"job-{number - 2}")
    assert halves.longest <= PATIENCE


def test_two_hundred_hand_overs_between_gangs_that_both_want_the_room() -> None:
    """In each pool one always waits, and a scheduler that interleaves gives both of them a part."""
    run, dice = two_pools(), random.Random(7)
    run.world.scheduler = Interleaving(run.world, dice)
    halves = Halves(run)
    living: dict[str, list[str]] = {"cpu": [], "gpu": []}
    made = handed_over = gave_way = 0
    began = run.clock()
    while handed_over < HAND_OVERS:
        for pool, names in living.items():
            while len(names) < 2:
                names.append(f"job-{made}")
                run.submit(names[-1], nodes=GANG, computePool=pool, maxRestarts=0)
                made += 1
        turn(run, dice, halves)
        for names in living.values():
            done = run.status(names[0])
            if done.get("phase") == "Succeeded":
                handed_over += 1
                gave_way += done["attempt"] > 1
                run.delete(names.pop(0))
        assert halves.longest <= PATIENCE
        assert run.clock() - began < 60 * HAND_OVERS, "each of them ends soon"
    assert gave_way, "else nobody was ever in another's way"
