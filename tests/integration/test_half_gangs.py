"""Two pools on the same machines before a real scheduler: each gang gets half of them, and one makes room."""

from __future__ import annotations

import time

import pytest

from mlpools_operator.domain.times import seconds
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.machines import Machines
from tests.support.manifests import manifest
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration


def submit(bench: Bench, name: str, pool: str) -> None:
    """Submit a gang of two without a claim, for which the scheduler would wait."""
    bench.submit(name, computePool=pool, volumes=[{"name": "data", "emptyDir": {}}])


def half(bench: Bench, job: str) -> None:
    """Wait until one pod of a job's first attempt has a machine."""
    wait_for(f"half of {job}", lambda: any("nodeName" in it["spec"] for it in bench.kubelet.there(job, 1)))


def whole(bench: Bench, job: str) -> list[Object]:
    """Wait until the present attempt of a job has machines for both of its pods."""

    def look() -> list[Object] | None:
        bench.kubelet.collect()
        pods = bench.kubelet.there(job, bench.job(job)["status"]["attempt"])
        return pods if sum("nodeName" in pod["spec"] for pod in pods) == 2 else None

    return wait_for(f"machines for all pods of {job}", look)


def admitted(bench: Bench) -> float:
    """Return when the first gang was admitted."""
    conditions = bench.job("older")["status"]["conditions"]
    return seconds(next(it["lastTransitionTime"] for it in conditions if it["type"] == "Admitted"))


def test_of_two_half_gangs_the_younger_makes_room_and_both_end(scheduled: tuple[Bench, Machines]) -> None:
    bench, machines = scheduled
    other = f"{bench.pool}-other"
    tolerations = [{"key": "only-for", "operator": "Exists"}]
    bench.kube.create(manifest("ComputePool", other, {"maxNodes": 2, "tolerations": tolerations}))
    bench.operator().wait_ready()
    try:
        machines.add("first", "2", "4Gi")
        submit(bench, "older", bench.pool)
        half(bench, "older")
        wait_for("the next second: of one second the UID decides", lambda: time.time() > admitted(bench) + 1)
        machines.add("second", "2", "4Gi", taint="only-for")
        submit(bench, "younger", other)
        half(bench, "younger")
        bench.kube.patch("Node", "second", {"spec": {"taints": []}})

        yielded = bench.phase("younger", "Queued")["status"]
        assert (yielded["reason"], yielded.get("restarts", 0)) == ("Unschedulable", 0)
        told = next(it["message"] for it in yielded["conditions"] if it["type"] == "Admitted")
        assert f"It makes room for older (pool {bench.pool}), which was admitted before it" in told
        wait_for(
            "the end of its pods", lambda: (bench.kubelet.collect(), not bench.kubelet.there("younger", 1))[1]
        )
        for name in ("older", "younger"):
            pods = whole(bench, name)
            bench.kubelet.run(pods)
            bench.phase(name, "Running")
            bench.kubelet.finish(pods, succeeded())
            bench.phase(name, "Succeeded")
    finally:
        bench.kube.delete("ComputePool", other)
