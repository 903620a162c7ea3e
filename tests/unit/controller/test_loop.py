"""Many jobs through the whole loop with several workers, in every order of events that a seed gives."""

from __future__ import annotations

from functools import partial
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


def submit(cluster: World, name: str, kind: str = "TrainingJob", **changes: Any) -> None:
    job = manifest(kind, name, changes)
    job["metadata"]["namespace"] = SPACE
    cluster.create(job)


def phases(cluster: World, kind: str = "TrainingJob") -> list[str]:
    return [job.get("status", {}).get("phase", "") for job in cluster.list(kind)]


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


async def test_a_pools_status_is_written_every_two_seconds_at_most() -> None:
    clock = Clock()
    cluster = world(clock)
    loop, began = Loop(cluster), clock()
    for number in range(12):
        submit(cluster, f"job-{number}")
    async with loop.running():
        await loop.until(lambda: phases(cluster) == ["Succeeded"] * 12, lambda: clock.advance(0.01))
    written = loop.cluster.writes["status", "ComputePool"]
    assert 1 <= written <= 1 + (clock() - began) / 2


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


def _ended(cluster: World, kind: str, number: int) -> bool:
    return phases(cluster, kind) == ["Succeeded"] * number


async def test_hundreds_of_inferences_cost_no_more_each_than_a_few_trainings_of_one_node() -> None:
    spent = {}
    for kind, number in (("TrainingJob", 20), ("BatchInference", 200)):
        cluster = World(Clock(), {"node-a": number}, steps=2)
        cluster.create(manifest("ComputePool", "cpu", {"maxNodes": number}))
        loop = Loop(cluster)
        loop.tell("ComputePool")
        for serial in range(number):
            submit(cluster, f"job-{serial}", kind)
        async with loop.running():
            await loop.settled(partial(_ended, cluster, kind, number))
        writes = {(verb, what.replace(kind, "it")): n for (verb, what), n in loop.cluster.writes.items()}
        assert writes.pop(("status", "ComputePool")) <= 10, "not one for each of them"
        assert writes.pop(("get", "ConfigMap")) == 1
        spent[kind] = {key: n / number for key, n in (writes | {("pass", "it"): loop.passes(kind)}).items()}
    assert spent["BatchInference"] == spent["TrainingJob"]
    assert spent["BatchInference"]["status", "it"] == 3


async def test_what_an_inference_did_wakes_nobody_else() -> None:
    """Shards are told every ten seconds: were the pool looked at for that, hundreds would keep it busy."""
    cluster = World(Clock(), {"node-a": 9}, steps=10**6)
    cluster.create(manifest("ComputePool", "cpu"))
    loop = Loop(cluster)
    submit(cluster, "score", "BatchInference", nodes=2)
    async with loop.running():
        loop.tell("ComputePool")
        await loop.settled(lambda: phases(cluster, "BatchInference") == ["Running"])
        await loop.settled(lambda: cluster.list("BatchInference")[0]["status"]["nodes"]["ready"] == 2)
        before = loop.passes("ComputePool")
        shards = {"total": 9, "done": 3, "failed": 0}
        told = cluster.list("BatchInference")[0]["status"] | {"shards": shards, "rows": shards}
        cluster.replace_status("BatchInference", SPACE, "score", told)
        await loop.settled(lambda: loop.passes("BatchInference") > 0)
    assert loop.passes("ComputePool") == before
