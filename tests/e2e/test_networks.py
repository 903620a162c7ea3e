"""A pool's network on real machines: measured before the work, and the machines' own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import screen
from tests.support.training import Object, Training
from tests.support.waiting import wait_for
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition

APART = {"strategy": "Spread", "required": True}
#: GB/s: what any two of these machines reach, and what none do.
LOW, HIGH = 0.001, 1000


def floor(minimum: float) -> Object:
    return {"enabled": True, "minBusBandwidthGBs": minimum}


def patch(cluster: Kubectl, **spec: Any) -> None:
    merge = json.dumps({"spec": spec})
    cluster.run("patch", "computepool", "measured", "--type=merge", "-p", merge)


def verified(cluster: Kubectl, status: str) -> str:
    """Wait until the pool says so of its network, and return its words."""

    def look() -> str | None:
        pool = cluster.get("computepool", "measured")
        found = condition(pool["status"], "FabricVerified") if pool and "status" in pool else {}
        return str(found["message"]) if found.get("status") == status else None

    return wait_for(f"FabricVerified={status}", look, 60, every=0.3)


def measure(training: Training, name: str) -> None:
    """Train until the pool says what the job found, and stop."""
    training.endless(name, nodes=2, computePool="measured")
    words = verified(training.cluster, "True")
    assert words.startswith("The slowest link, from rank "), words
    assert " GB/s over TCP, and the longest round trip takes " in words, words
    training.trains(name)
    found = training.status(name)["fabric"]
    assert (found["attempt"], found["verified"], found["message"]) == (1, True, words)
    training.change(name, cancel=True)
    training.until(name, phase="Cancelled", seconds=60)


@pytest.mark.full
@pytest.mark.e2e(seconds=100)
def test_a_network_is_measured_before_the_work_and_one_that_is_too_slow_is_not_used(
    training: Training, cluster: Kubectl
) -> None:
    training.make_pool("measured", placement=APART, preflight=floor(LOW))
    measure(training, "measures")

    patch(cluster, preflight=floor(HIGH))
    training.short("refused", 2, nodes=2, computePool="measured", maxRestarts=0)
    failed = training.failure("refused")
    assert failed["reason"] == "RestartsExhausted", failed
    assert failed["message"].startswith("FabricTooSlow: rank "), failed
    assert "and the pool asks for 1000 GB/s" in failed["message"], failed
    assert failed["message"].endswith("Not retried since maxRestarts is 0."), failed
    status = training.status("refused")
    assert (status["attempt"], status["fabric"]["verified"]) == (1, False), status
    assert not training.output("refused").joinpath("model.ubj").exists(), "nothing was trained over it"
    said = screen.events(cluster, "TrainingJob", "refused")
    assert said == [f"Warning RestartsExhausted {screen.plain(failed['message'])}"]
    words = verified(cluster, "False")
    assert words.startswith("The network between the ranks is too slow: the slowest link, from rank "), words
    assert "FabricTooSlow" in screen.description(cluster, "cp", "measured")

    patch(cluster, preflight=floor(LOW))
    measure(training, "measures-again")


@pytest.mark.full
@pytest.mark.e2e(seconds=45)
def test_pods_on_their_machines_own_network_train_together(training: Training, cluster: Kubectl) -> None:
    training.make_pool("wired", network={"profile": "Host"})
    training.short("on-host", 300, nodes=2, computePool="wired")
    training.trains("on-host", rounds=5)
    pods = training.pods("on-host")
    assert all(pod["spec"]["hostNetwork"] for pod in pods)
    assert all(pod["status"]["podIP"] == pod["status"]["hostIP"] for pod in pods)
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2, "both want the same port of their machine"
    pool = cluster.get("computepool", "wired")
    assert pool is not None
    assert "no NetworkPolicy isolates them" in condition(pool["status"], "Ready")["message"]
    status = training.completed("on-host")
    assert (status["attempt"], status["progress"]["step"]) == (1, 300), status
