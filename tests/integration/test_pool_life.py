"""A pool's life before a real API server: it sleeps, wakes, is held, and says so."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.waiting import wait_for

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

    return wait_for(f"{' or '.join(states)} of the pool", look, 30)


def conditions(found: Object) -> dict[str, tuple[str, str]]:
    return {it["type"]: (it["status"], it["reason"]) for it in found["conditions"]}


def finish(bench: Bench, name: str) -> None:
    """Run a job of two nodes to its end."""
    pods = bench.kubelet.pods(name, 1, 2)
    bench.kubelet.run(pods)
    bench.phase(name, "Running")
    bench.kubelet.finish(pods, succeeded())
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
    assert conditions(asleep) == {"Ready": ("True", "Suspended"), "Suspended": ("True", "SuspendedWhenIdle")}
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


def test_a_pool_that_is_made_asleep_is_woken_by_its_first_job(bench: Bench) -> None:
    change(bench, initiallySuspended=True)
    bench.operator().wait_ready()
    assert conditions(state(bench, "Suspended"))["Suspended"] == ("True", "InitiallySuspended")
    bench.submit("first")
    finish(bench, "first")
    assert conditions(state(bench, "Idle"))["Ready"] == ("True", "Accepted")
