"""A pool, a real scheduler, and an autoscaler: machines come for pods that wait, and go when unused."""

from __future__ import annotations

import pytest

from tests.support.autoscaler import Autoscaler
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.machines import Machines

pytestmark = pytest.mark.integration


def test_a_pool_wakes_grows_shrinks_and_sleeps_without_any_machine(scheduled: tuple[Bench, Machines]) -> None:
    bench, machines = scheduled
    scaler = Autoscaler(bench.kube, machines, cpu="2", memory="4Gi")
    spec = {"minNodes": 2, "maxNodes": 4, "initiallySuspended": True, "autoSuspendSeconds": 0}
    bench.kube.patch("ComputePool", bench.pool, {"spec": spec})
    bench.operator().wait_ready()

    def pool(**wanted: object) -> Object:
        """Let the cluster work until the pool's status says this."""

        def look() -> Object | None:
            status: Object = bench.kube.get("ComputePool", bench.pool).get("status", {})
            said = {"state": status.get("state"), "nodes": status.get("nodes", {}).get("summary")}
            return status if wanted.items() <= said.items() else None

        return scaler.until(f"{wanted} of the pool", look)

    def count(number: int) -> None:
        scaler.until(f"{number} machines", lambda: len(scaler.machines) == number)

    def phase(name: str, wanted: str) -> None:
        scaler.until(f"{wanted} of {name}", lambda: bench.job(name).get("status", {}).get("phase") == wanted)

    def submit(name: str, nodes: int) -> None:
        # A claim that is not there would be one more reason for a real scheduler.
        bench.submit(name, nodes=nodes, volumes=[{"name": "data", "emptyDir": {}}])

    def finish(name: str, nodes: int) -> None:
        phase(name, "Running")
        bench.kubelet.finish(bench.kubelet.pods(name, 1, nodes), succeeded())
        phase(name, "Succeeded")

    pool(state="Suspended")
    assert scaler.machines == []

    submit("wakes", 1)
    phase("wakes", "Running")
    pool(state="Active", nodes="1/1/4")
    count(2)
    finish("wakes", 1)
    pool(state="Idle", nodes="0/2/4")

    submit("grows", 4)
    phase("grows", "Running")
    pool(state="Active", nodes="4/0/4")
    assert scaler.most == 4, "placeholders gave their machines to the job"
    finish("grows", 4)
    pool(state="Idle", nodes="0/2/4")
    count(2)

    bench.kube.patch("ComputePool", bench.pool, {"spec": {"autoSuspendSeconds": 1}})
    pool(state="Suspended", nodes="0/0/4")
    count(0)

    submit("again", 2)
    phase("again", "Running")
    assert len(scaler.machines) >= 2
