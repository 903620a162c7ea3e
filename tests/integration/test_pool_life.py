"""A pool's life before a real API server: it sleeps, wakes, is held, and says so."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import Kubelet, succeeded
from tests.support.proxy import GO_ON, Call, Proxy
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.integration


def change(bench: Bench, **spec: Any) -> None:
    bench.kube.patch("ComputePool", bench.pool, {"spec": spec})


def status(bench: Bench) -> Object:
    found: Object = bench.kube.get("ComputePool", bench.pool).get("status", {})
    return found


def state(bench: Bench, *states: str) -> Object:
    """Wait until the pool is in one of the states, and return its status."""

    def look() -> Object | None:
        found = status(bench)
        return found if found.get("state") in states else None

    return wait_for(f"{' or '.join(states)} of the pool", look)


def conditions(found: Object) -> dict[str, tuple[str, str]]:
    return {it["type"]: (it["status"], it["reason"]) for it in found["conditions"]}


def finish(bench: Bench, name: str, nodes: int = 2) -> None:
    """Run a job of so many nodes to its end."""
    pods = bench.kubelet.pods(name, 1, nodes)
    bench.kubelet.run(pods)
    bench.phase(name, "Running")
    bench.kubelet.finish(pods, bench.done())
    bench.phase(name, "Succeeded")


def events(bench: Bench) -> set[str]:
    return {it["reason"] for it in bench.kube.list("Event") if it["involvedObject"]["name"] == bench.pool}


def test_a_pool_starts_works_falls_asleep_and_wakes(bench: Bench) -> None:
    bench.operator().wait_ready()
    assert conditions(state(bench, "Idle"))["Ready"] == ("True", "Accepted")
    bench.submit("first")
    pods = bench.kubelet.pods("first", 1, 2)
    assert state(bench, "Starting")["nodes"]["summary"] == "2/0/4"
    bench.kubelet.run(pods[:1])
    state(bench, "Resizing")
    bench.kubelet.run(pods[1:])
    state(bench, "Active")
    bench.kubelet.finish(pods, succeeded())
    bench.phase("first", "Succeeded")
    state(bench, "Idle")

    change(bench, autoSuspendSeconds=1)
    asleep = state(bench, "Suspended")
    assert asleep["suspendedSince"] > asleep["lastActivityTime"]
    assert conditions(asleep)["Ready"] == ("True", "Suspended")
    assert conditions(asleep)["Suspended"] == ("True", "SuspendedWhenIdle")
    bench.submit("second")
    finish(bench, "second")
    again = state(bench, "Suspended")
    assert again["suspendedSince"] > asleep["suspendedSince"]
    wait_for("Events", lambda: events(bench) >= {"Suspended", "Resumed"})


def test_a_pool_that_wakes_only_by_hand(bench: Bench) -> None:
    bench.operator().wait_ready()
    change(bench, autoSuspendSeconds=1, autoResume=False)
    state(bench, "Suspended")
    bench.submit("waits")
    waiting = bench.phase("waits", "Queued")["status"]["queue"]
    assert waiting["reason"] == "PoolSuspended"
    assert "mlpools.dev/start-requested-at" in waiting["message"]
    wait_for("its place in the pool's status", lambda: status(bench)["queued"] == 1)
    wish = {
        "mlpools.dev/start-requested-at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    }
    bench.kube.patch("ComputePool", bench.pool, {"metadata": {"annotations": wish}})
    finish(bench, "waits")


def test_an_administrators_hold_outlives_the_operator(bench: Bench) -> None:
    first = bench.operator().wait_ready()
    bench.submit("runs")
    pods = bench.kubelet.pods("runs", 1, 2)
    bench.kubelet.run(pods)
    bench.phase("runs", "Running")
    change(bench, suspend=True)
    held = state(bench, "Stopping")
    assert conditions(held)["Suspended"] == ("True", "SuspendedByAdministrator")
    bench.submit("waits")
    assert bench.phase("waits", "Queued")["status"]["reason"] == "PoolSuspended"
    assert first.stop() == 0

    bench.operator().wait_ready()
    bench.kubelet.finish(pods, succeeded())
    bench.phase("runs", "Succeeded")
    assert state(bench, "Suspended")["suspendedSince"] == held["suspendedSince"]
    assert bench.kubelet.there("waits", 1) == []
    change(bench, suspend=False)
    finish(bench, "waits")


def test_a_pool_that_is_made_asleep_is_woken_by_its_first_job(either: Bench) -> None:
    change(either, initiallySuspended=True)
    either.operator().wait_ready()
    assert conditions(state(either, "Suspended"))["Suspended"] == ("True", "InitiallySuspended")
    either.submit("first")
    finish(either, "first")
    assert conditions(state(either, "Idle"))["Ready"] == ("True", "Accepted")


def test_a_job_that_wakes_a_pool_is_told_so(bench: Bench, proxy: Proxy, through_proxy: Path) -> None:
    """While the pool's status does not say yet that it is awake, nobody is admitted."""
    change(bench, initiallySuspended=True)
    bench.operator(through_proxy).wait_ready()
    state(bench, "Suspended")
    awake = threading.Event()

    def hold(call: Call) -> int:
        if call.method != "GET" and call.path.endswith(f"/computepools/{bench.pool}/status"):
            awake.wait(PATIENCE)
        return GO_ON

    proxy.before = hold
    bench.submit("first")
    waiting = bench.phase("first", "Queued")["status"]
    assert (waiting["reason"], waiting["queue"]["message"]) == (
        "PoolResuming",
        f"Pool {bench.pool} slept and is waking up; it admits jobs in a moment.",
    )
    awake.set()
    finish(bench, "first")


def test_stop_all_cancels_what_started_before_it_and_nothing_else(either: Bench) -> None:
    either.operator().wait_ready()
    either.submit("early", nodes=4)
    pods = either.kubelet.pods("early", 1, 4)
    either.kubelet.run(pods)
    either.phase("early", "Running")
    trains = either.of("TrainingJob")
    trains.submit("waits", nodes=4)
    trains.phase("waits", "Queued")
    change(either, stopAll=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1)))

    def cancelled() -> bool:
        either.kubelet.terminate(Final(Exit.PREEMPTED, rank=0))
        return bool(either.job("early")["status"]["phase"] == "Cancelled")

    wait_for("the end of what runs", cancelled)
    assert "stopAll" in str(either.job("early")["status"]["conditions"])
    finish(trains, "waits", nodes=4)


def placeholders(bench: Bench) -> list[Object]:
    selector = f"mlpools.dev/kind=ComputePool,mlpools.dev/pool={bench.pool}"
    return bench.kube.list("Pod", "mlpools-system", selector)


def warm(bench: Bench, number: int) -> list[Object]:
    """Wait until there are so many placeholders, and let them run."""
    wait_for(f"{number} placeholders", lambda: len(placeholders(bench)) == number)
    home = Kubelet(bench.kube, "mlpools-system")
    for pod in placeholders(bench):
        home.start(pod, f"node-{pod['metadata']['name']}")
    return placeholders(bench)


def test_warm_nodes_are_kept_given_to_a_job_and_given_back(bench: Bench) -> None:
    bench.kube.apply(restricted("mlpools-system"))
    change(bench, minNodes=2)
    bench.operator().wait_ready()
    first = warm(bench, 2)
    assert {it["spec"]["priority"] for it in first} == {-10}
    assert {it["metadata"]["ownerReferences"][0]["name"] for it in first} == {bench.pool}
    idle = state(bench, "Idle")
    wait_for("idle nodes", lambda: status(bench)["nodes"]["summary"] == "0/2/4")
    assert idle["nodes"]["min"] == 2

    bench.submit("takes")
    pods = bench.kubelet.pods("takes", 1, 2)
    wait_for("room for the job", lambda: placeholders(bench) == [])
    bench.kubelet.run(pods)
    wait_for("nodes that are held", lambda: status(bench)["nodes"]["summary"] == "2/0/4")
    bench.kubelet.finish(pods, succeeded())
    bench.phase("takes", "Succeeded")
    warm(bench, 2)
    change(bench, autoSuspendSeconds=1)
    state(bench, "Suspended")
    wait_for("their end", lambda: placeholders(bench) == [])
    change(bench, autoSuspendSeconds=0)
    bench.submit("wakes", nodes=1)
    bench.kubelet.run(bench.kubelet.pods("wakes", 1, 1))
    warm(bench, 1)
    state(bench, "Active")


def test_warm_nodes_that_are_refused_are_told_and_a_deleted_pool_leaves_none(bench: Bench) -> None:
    quota = {"hard": {"requests.memory": "5Gi"}}
    bench.kube.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": quota},
        "mlpools-system",
    )
    try:
        bench.operator().wait_ready()
        wait_for("a quota that counts", lambda: "used" in quota_status(bench))
        change(bench, minNodes=2)
        wait_for("one placeholder", lambda: len(placeholders(bench)) == 1)

        def told() -> str:
            ready = next((it for it in status(bench).get("conditions", ()) if it["type"] == "Ready"), {})
            return str(ready["message"]) if ready.get("reason") == "PlaceholdersRefused" else ""

        assert "exceeded quota: small" in wait_for("the refusal in the pool's status", told)
    finally:
        bench.kube.delete("ResourceQuota", "small", "mlpools-system")
    bench.kube.delete("ComputePool", bench.pool)
    wait_for("placeholders to be collected", lambda: placeholders(bench) == [])


def quota_status(bench: Bench) -> Object:
    found: Object = bench.kube.get("ResourceQuota", "small", "mlpools-system").get("status", {})
    return found


def restricted(namespace: str) -> Object:
    """Return a namespace that lets in no pod but what is restricted."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
