"""What happens to jobs of a cluster, from beginning to end."""

from __future__ import annotations

from dataclasses import replace

from tests.support.api_server import is_terminal
from tests.support.domain_run import NAMESPACE, Run
from tests.support.instances import FAMILIES
from tests.support.manifests import ABSENT, manifest, spec
from tests.support.operator_sim import DEFAULTS

UNKNOWN_FAMILY = {"instance": ABSENT, "instanceFamily": "huge"}


def test_a_job_may_come_before_its_pool() -> None:
    run = Run()
    run.world.delete("ComputePool", "", "cpu")
    run.submit("flights")
    run.go(3)
    assert run.status("flights")["reason"] == "PoolNotFound"
    run.world.create(manifest("ComputePool", "cpu"))
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"


def test_jobs_take_turns_and_the_one_that_waits_knows_why() -> None:
    run = Run(max_nodes=4)
    run.submit("first", nodes=3)
    run.go(2)
    run.submit("second", nodes=3)
    run.go(2)
    waiting = run.status("second")
    assert (waiting["phase"], waiting["reason"]) == ("Queued", "WaitingForNodes")
    assert "first (team-a) holds 3" in waiting["queue"]["message"]
    run.settle()
    assert run.status("first")["phase"] == run.status("second")["phase"] == "Succeeded"
    assert "queue" not in run.status("second")


def test_a_lost_machine_is_left_behind_and_its_pod_keeps_its_node_until_it_is_gone() -> None:
    run = Run(max_nodes=2, steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    (lost,) = {pod["spec"]["nodeName"] for pod in run.pods("flights")[:1]}
    run.world.lose(lost)
    run.go(30)
    waiting = run.status("flights")
    assert (waiting["phase"], waiting["restarts"]) == ("Queued", 0)
    told = f"flights (team-a) holds 1 on {lost} until that answers or its Node is deleted"
    assert told in waiting["queue"]["message"]
    run.world.remove(lost)
    run.world.steps = 3
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["attempt"], done["restarts"]) == ("Succeeded", 2, 0)


def test_a_lost_machine_does_not_stop_a_pool_that_has_room() -> None:
    run = Run(max_nodes=4, steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    run.world.lose(str(run.pods("flights")[0]["spec"]["nodeName"]))
    run.go(30)
    assert (run.status("flights")["phase"], run.status("flights")["attempt"]) == ("Running", 2)


def test_an_image_that_never_comes_exhausts_the_restarts_and_holds_no_node() -> None:
    run = Run()
    run.world.images = False
    run.submit("flights", nodes=2, maxRestarts=1)
    run.settle()
    failed = run.status("flights")
    assert (failed["phase"], failed["reason"], failed["restarts"]) == ("Failed", "RestartsExhausted", 1)
    assert 'Back-off pulling image "nowhere:1"' in next(
        it["message"] for it in failed["conditions"] if it["type"] == "Failed"
    )
    assert all(is_terminal(pod) for pod in run.world.list("Pod"))
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 0


def test_a_gang_without_room_gives_back_what_it_has_and_starts_when_there_is_room() -> None:
    run = Run(max_nodes=4)
    run.world.machines = {"node-a": 1}
    run.submit("flights", nodes=2)
    told = run.until("flights", "Starting")
    run.go(8)
    assert run.status("flights")["reason"] == "Unschedulable"
    assert run.status("flights")["startTime"] == told["startTime"]
    run.until("flights", "Queued", rounds=400)
    run.go(3)
    assert [pod for pod in run.world.list("Pod") if not is_terminal(pod)] == []
    run.world.machines["node-b"] = 4
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["restarts"]) == ("Succeeded", 0)


def test_deleted_and_made_again_at_once_a_job_runs_once_more_and_only_once() -> None:
    run = Run()
    old = run.submit("flights", nodes=2)["metadata"]["uid"]
    run.until("flights", "Running")
    run.delete("flights")
    new = run.submit("flights", nodes=2)["metadata"]["uid"]
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"
    owners = {job["metadata"]["ownerReferences"][0]["uid"] for job in run.world.list("Job")}
    assert owners == {new}
    assert old != new


def test_a_pool_of_an_unknown_family_waits_for_the_catalogue_without_looping() -> None:
    run = Run()
    run.world.labels = {name: {"machine": "large"} for name in run.world.machines}
    run.world.replace_spec("ComputePool", "", "cpu", spec("ComputePool", UNKNOWN_FAMILY))
    run.submit("flights")
    run.settle()
    pool = run.world.get("ComputePool", "", "cpu")["status"]
    assert [(it["type"], it["status"], it["reason"]) for it in pool["conditions"]] == [
        ("Ready", "False", "InvalidSpec"),
        ("Stalled", "True", "InvalidSpec"),
    ]
    waiting = run.status("flights")
    assert (waiting["phase"], waiting["reason"], waiting.get("attempt", 0)) == ("Queued", "PoolNotFound", 0)
    assert "There is no instance family huge" in waiting["queue"]["message"]
    run.operator.defaults = replace(DEFAULTS, families={"huge": FAMILIES["large"]})
    run.operator.restart()
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["instanceFamily"], done["attempt"]) == ("Succeeded", "huge", 1)
    pool = run.world.get("ComputePool", "", "cpu")["status"]
    assert (pool["instanceFamily"], pool["shape"]) == ("huge", "huge: 2 CPU, 4Gi")


def test_a_running_attempt_keeps_its_machines_whatever_becomes_of_the_catalogue() -> None:
    run = Run(steps=20)
    run.world.labels = {name: {"machine": "large"} for name in run.world.machines}
    run.world.replace_spec(
        "ComputePool", "", "cpu", spec("ComputePool", {"instance": ABSENT, "instanceFamily": "large"})
    )
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    pods = run.pods("flights")
    run.operator.defaults = replace(DEFAULTS, families={})
    run.operator.restart()
    run.go(3)
    assert [pod["metadata"]["uid"] for pod in run.pods("flights")] == [it["metadata"]["uid"] for it in pods]
    run.settle()
    assert (run.status("flights")["phase"], run.status("flights")["attempt"]) == ("Succeeded", 1)


def test_a_job_that_is_deleted_leaves_nothing() -> None:
    run = Run()
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    run.delete("flights")
    run.settle()
    for kind in ("Job", "Pod", "Service", "NetworkPolicy"):
        assert run.world.list(kind) == []


def test_a_queued_job_that_asks_for_more_is_admitted_for_more() -> None:
    run = Run(max_nodes=4)
    run.submit("first", nodes=3)
    run.go(2)
    run.submit("second", nodes=1)
    run.operator.hear("TrainingJob")
    run.operator.pass_pool("cpu")  # a grant of one node, which nobody has used yet
    run.world.replace_spec("TrainingJob", NAMESPACE, "second", spec("TrainingJob", {"nodes": 4}))
    run.go(3)
    assert run.status("second")["phase"] == "Queued"
    run.settle()
    assert run.status("second")["nodes"]["requested"] == 4
    assert run.status("second")["phase"] == "Succeeded"


def test_a_priority_that_is_changed_while_jobs_wait_changes_who_is_next() -> None:
    run = Run(max_nodes=2, steps=1000)
    run.submit("holder", nodes=2)
    run.until("holder", "Running")
    for name in ("older", "newer"):
        run.submit(name, nodes=2)
        run.go(1)
    assert run.status("older")["reason"] == "WaitingForNodes"
    run.change("newer", priority=1)
    run.go(2, seconds=30)  # a place is told anew as often
    told = {name: run.status(name)["queue"] for name in ("older", "newer")}
    assert (told["newer"]["position"], told["newer"]["reason"]) == (1, "WaitingForNodes")
    assert (told["older"]["position"], told["older"]["reason"]) == (2, "BehindInQueue")
    run.world.steps = 3
    run.until("newer", "Running")
    assert run.status("older")["phase"] == "Queued"
    run.settle()
    assert run.status("older")["phase"] == "Succeeded"
