"""Many jobs through the whole loop with several workers, in every order of events that a seed gives."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.controller import reconcile
from mlpools_operator.domain import naming
from tests.support.api_server import Clock, is_terminal
from tests.support.loop import Loop
from tests.support.manifests import manifest
from tests.support.world import World

NODES = 4
SPACE = "team-a"


def world(clock: Clock, **pool: Any) -> World:
    made = World(clock, {"node-a": 20, "node-b": 20}, steps=2)
    made.create(manifest("ComputePool", "cpu", {"maxNodes": NODES, **pool}))
    return made


def submit(cluster: World, name: str, **changes: Any) -> None:
    job = manifest("TrainingJob", name, changes)
    job["metadata"]["namespace"] = SPACE
    cluster.create(job)


def phases(cluster: World) -> list[str]:
    return [job.get("status", {}).get("phase", "") for job in cluster.list("TrainingJob")]


@pytest.mark.parametrize("seed", range(5))
async def test_jobs_share_a_pool_and_all_end(seed: int) -> None:
    cluster = world(Clock())
    loop = Loop(cluster, seed)
    sizes = {f"job-{number}": 1 + number % 3 for number in range(12)}
    for name, nodes in sizes.items():
        submit(cluster, name, nodes=nodes)

    def check() -> None:
        living = [pod for pod in cluster.list("Pod") if not is_terminal(pod)]
        assert len(living) <= NODES
        cluster.clock.advance(0.05)  # type: ignore[attr-defined]

    async with loop.running():
        done = ["Succeeded"] * 12
        told = loop.cluster.writes
        await loop.until(lambda: phases(cluster) == done and told["event", "TrainingJob"] == 12, check)
    owners = [job["metadata"]["labels"][naming.JOB_UID] for job in cluster.list("Job")]
    assert len(owners) == len(set(owners)) == 12
    assert loop.cluster.writes["create", "Job"] == 12
    assert loop.cluster.writes["apply", "Service"] == 12


async def test_jobs_wake_a_pool_that_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "POOL_STATUS_SECONDS", 0.0)
    cluster = world(Clock(), initiallySuspended=True)
    loop = Loop(cluster)

    def state() -> str:
        return str(cluster.list("ComputePool")[0].get("status", {}).get("state"))

    async with loop.running():
        await loop.until(lambda: state() == "Suspended", lambda: None)
        for name in ("one", "two"):
            submit(cluster, name, nodes=2)
        await loop.until(lambda: phases(cluster) == ["Succeeded"] * 2, lambda: None)
        await loop.until(lambda: state() == "Idle", lambda: None)


async def test_a_job_that_waits_for_nothing_costs_three_status_writes() -> None:
    cluster = world(Clock())
    loop = Loop(cluster)
    loop.tell("ComputePool")
    submit(cluster, "only", nodes=2)
    async with loop.running():
        await loop.until(lambda: phases(cluster) == ["Succeeded"], lambda: None)
    assert loop.cluster.writes["status", "TrainingJob"] == 3
