"""Notebooks that do not get the machine that they ask for."""

from __future__ import annotations

from tests.support.api_server import Json
from tests.support.domain_run import Run
from tests.support.manifests import ABSENT, spec

KIND = "NotebookRuntime"


def lacking(machines: dict[str, int], *backups: str) -> Run:
    """A cluster whose machines are called as their family."""
    run = Run(max_nodes=4, steps=1000)
    run.world.machines = machines
    run.world.labels = {name: {"machine": name} for name in ("large", "larger")}
    own = {"instance": ABSENT, "instanceFamily": "large", "backupInstanceFamilies": list(backups)}
    fields = {**own, "maxNodes": 4, "capacityTimeoutSeconds": 60}
    run.world.replace_spec("ComputePool", "", "cpu", spec("ComputePool", fields))
    return run


def pool(run: Run) -> Json:
    status: Json = run.world.get("ComputePool", "", "cpu")["status"]
    return status


def said(status: Json, name: str) -> Json:
    found: Json = next(it for it in status["conditions"] if it["type"] == name)
    return found


def test_it_goes_to_the_backup_family_and_tells_the_pool() -> None:
    run = lacking({"larger": 4}, "larger")
    run.submit("alice", KIND, storage={"storageClassName": "fast"})
    run.until("alice", "Starting")
    run.go(20)
    assert run.status("alice")["reason"] == "Unschedulable"
    queued = run.until("alice", "Queued", rounds=100)
    assert queued["lackedCapacity"]["instanceFamily"] == "large"
    assert "for a machine of family larger" in said(queued, "Ready")["message"]
    running = run.until("alice", "Running")
    assert (running["instanceFamily"], running["attempt"]) == ("larger", 2)
    assert "lackedCapacity" not in running
    (pod,) = run.pods("alice")
    assert pod["spec"]["nodeName"] == "larger"
    run.go(2)
    assert pool(run)["instanceFamily"] == "larger"


def test_others_begin_with_what_it_found_and_its_node_is_free_meanwhile() -> None:
    run = lacking({"larger": 4}, "larger")
    run.submit("alice", KIND, storage={"storageClassName": "fast"})
    run.until("alice", "Starting")
    run.until("alice", "Queued", rounds=100)
    run.go(2)
    assert said(pool(run), "CapacityAvailable")["status"] == "False"
    run.submit("flights", "TrainingJob", nodes=1)
    run.until("flights", "Running", rounds=30)
    assert run.status("flights")["attempt"] == 1
    assert run.status("flights")["instanceFamily"] == "larger"


def test_with_one_family_it_looks_again_and_a_suspended_one_rests() -> None:
    run = lacking({})
    run.submit("alice", KIND, storage={"storageClassName": "fast"})
    attempts = set()
    for _ in range(200):
        run.go(1)
        attempts.add(run.status("alice").get("attempt"))
    assert attempts >= {1, 2}
    run.change("alice", suspend=True)
    assert run.until("alice", "Stopped", rounds=60)["reason"] == "Suspended"
    run.world.machines = {"large": 1}
    run.change("alice", suspend=False)
    assert run.until("alice", "Running")["instanceFamily"] == "large"


def test_who_waits_for_a_full_pool_is_told_its_place_and_who_holds_the_nodes() -> None:
    run = Run(max_nodes=1)
    for name in ("alice", "bob", "carol"):
        run.submit(name, KIND)
        run.go(5)
    bob, carol = run.status("bob"), run.status("carol")
    assert [it["phase"] for it in (bob, carol)] == ["Queued"] * 2
    assert [it["queue"]["position"] for it in (bob, carol)] == [1, 2]
    assert (bob["reason"], carol["reason"]) == ("WaitingForNodes", "BehindInQueue")
    assert "alice (team-a) holds 1. First in the queue." in said(bob, "Ready")["message"]
    assert "1 job is ahead. First is bob (team-a)" in said(carol, "Ready")["message"]
