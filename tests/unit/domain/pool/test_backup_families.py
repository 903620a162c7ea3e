"""Jobs that do not get the machines that they ask for, from beginning to end."""

from __future__ import annotations

import pytest

from tests.support.api_server import Json, is_terminal
from tests.support.domain_run import Run
from tests.support.manifests import ABSENT, spec

FAMILIES = ["large", "larger", "gpu"]


def _run(machines: dict[str, int], steps: int = 3) -> Run:
    """A cluster whose machines are called as their family."""
    run = Run(max_nodes=8, steps=steps)
    run.world.machines = machines
    run.world.labels = {name: {"machine": name} for name in FAMILIES}
    first, *backups = FAMILIES
    own = {"instance": ABSENT, "instanceFamily": first, "backupInstanceFamilies": backups, "maxNodes": 8}
    run.world.replace_spec(
        "ComputePool", "", "cpu", spec("ComputePool", {**own, "capacityTimeoutSeconds": 60})
    )
    return run


def _pool(run: Run) -> Json:
    status: Json = run.world.get("ComputePool", "", "cpu")["status"]
    return status


def _capacity(run: Run) -> Json:
    found: Json = next((it for it in _pool(run)["conditions"] if it["type"] == "CapacityAvailable"), {})
    return found


def _machines(run: Run) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in run.pods("flights")}


def test_a_gang_goes_to_the_backup_and_leaves_no_half_behind() -> None:
    run = _run({"large": 1, "larger": 4}, steps=30)
    run.submit("flights", nodes=2)
    run.until("flights", "Starting")
    run.go(10)
    told = next(it for it in run.status("flights")["conditions"] if it["type"] == "PodsReady")
    assert told["message"].startswith("No machine of family large for 1 of 2 pods: 0/2 nodes are available")
    queued = run.until("flights", "Queued", rounds=100)
    assert (queued["reason"], queued["restarts"], queued["instanceFamily"]) == ("Unschedulable", 0, "larger")
    assert queued["lackedCapacity"]["instanceFamily"] == "large"
    assert "Then it asks for machines of family larger." in queued["conditions"][0]["message"]
    run.go(4)
    assert [pod for pod in run.world.list("Pod") if not is_terminal(pod)] == []
    assert _capacity(run)["status"] == "False"
    assert "not enough machines of family large for a job: 0/2 nodes" in _capacity(run)["message"]
    assert _pool(run)["instanceFamily"] == "larger"
    running = run.until("flights", "Running")
    assert (running["instanceFamily"], running["attempt"], running["restarts"]) == ("larger", 2, 0)
    assert "lackedCapacity" not in running
    assert _machines(run) == {"larger"}
    run.go(2)
    assert (_capacity(run)["status"], _pool(run)["shape"]) == ("True", "larger: 4 CPU, 8Gi")


@pytest.mark.parametrize("restarts", [False, True])
def test_after_the_last_family_comes_the_first_again(restarts: bool) -> None:
    run = _run({}, steps=3)
    run.submit("flights", nodes=2)
    asked: list[str] = []
    for _ in range(1200):
        if restarts:
            run.operator.restart()
        run.round()
        run.clock.advance(1)
        status = run.status("flights")
        if status.get("attempt", 0) > len(asked):
            asked.append(status["instanceFamily"])
        if len(asked) == 4:
            break
    assert asked == ["large", "larger", "gpu", "large"]
    run.world.machines["large"] = 4
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["attempt"], done["restarts"]) == ("Succeeded", 4, 0)


def test_other_jobs_need_not_find_out_for_themselves_until_it_is_old_news() -> None:
    run = _run({"larger": 8}, steps=10)
    run.submit("flights", nodes=2)
    run.until("flights", "Running", rounds=200)
    run.go(2)
    run.submit("second", nodes=2)
    assert run.until("second", "Running")["instanceFamily"] == "larger"
    run.settle()
    assert run.status("second")["attempt"] == 1
    run.clock.advance(3600)
    run.go(3)
    assert _pool(run)["instanceFamily"] == "large"
    run.submit("third", nodes=2)
    assert run.until("third", "Starting")["instanceFamily"] == "large"


def test_a_claim_that_is_absent_says_nothing_about_machines() -> None:
    run = _run({})
    run.world.words = 'persistentvolumeclaim "flights" not found'
    run.submit("flights", nodes=2)
    run.until("flights", "Starting")
    queued = run.until("flights", "Queued", rounds=100)
    assert (queued["reason"], queued["instanceFamily"]) == ("Unschedulable", "large")
    assert "Make the PersistentVolumeClaim" in queued["conditions"][0]["message"]
    run.go(3)
    assert _capacity(run) == {}
    assert _pool(run)["instanceFamily"] == "large"
