"""A pod or a machine dies: the attempt is repeated from the last checkpoint, and the job completes."""

from __future__ import annotations

import pytest
import xgboost as xgb

from tests.support import screen
from tests.support.hosts import cut_off
from tests.support.training import Training
from tests.support.waiting import wait_for
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl

#: Label of a pod with its rank.
RANK = "batch.kubernetes.io/job-completion-index"
ROUNDS = 300
EVERY_TEN = {"everyRounds": 10}
KILL = (
    "import os, signal; [os.kill(int(p), signal.SIGKILL) for p in os.listdir('/proc') if p.isdigit()"
    " and b'-m\\0mlpools.runtime' in open(f'/proc/{p}/cmdline', 'rb').read()]"
)


def checkpoint_step(training: Training, name: str) -> int:
    """Round of the newest committed checkpoint on the volume."""
    commits = (training.output(name) / "checkpoints").glob("*/step-*/COMMIT")
    return max((int(path.parent.name.rpartition("-")[2]) for path in commits), default=0)


def machine_of(training: Training, name: str, rank: int) -> str:
    """Return the machine of a running rank."""

    def look() -> str | None:
        running = (it for it in training.pods(name) if it["status"]["phase"] == "Running")
        chosen = (it for it in running if it["metadata"]["labels"][RANK] == str(rank))
        return next((str(it["spec"]["nodeName"]) for it in chosen), None)

    return wait_for(f"rank {rank} of {name}", look, 60, every=0.3)


@pytest.mark.e2e(seconds=75)
@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.full), 1])
def test_a_killed_rank_costs_at_most_the_rounds_since_the_checkpoint(
    training: Training, cluster: Kubectl, rank: int
) -> None:
    name = f"killed-rank-{rank}"
    training.short(name, ROUNDS, nodes=2, checkpoint=EVERY_TEN, restartBackoffSeconds=1)
    wait_for("twentieth round's checkpoint", lambda: checkpoint_step(training, name) >= 20, 90, every=0.3)
    victim = next(it for it in training.pods(name) if it["metadata"]["labels"][RANK] == str(rank))
    saved = checkpoint_step(training, name)
    pod = victim["metadata"]["name"]
    cluster.run("exec", pod, "-c", "main", "--", "python", "-c", KILL)
    status = training.completed(name)
    assert (status["attempt"], status["restarts"]) == (2, 1), status
    (first,) = [it for it in status["nodes"]["failed"] if it["pod"] == pod]
    assert (first["rank"], first["reason"]) == (rank, "WorkerCrashed"), status["nodes"]
    assert training.resumed_at(name) >= saved
    assert training.first_round(name, 2) == training.resumed_at(name) + 1
    assert xgb.Booster(model_file=training.output(name) / "model.ubj").num_boosted_rounds() == ROUNDS
    said = screen.events(cluster, "TrainingJob", name)
    assert said[0].startswith(f"Warning WorkerCrashed Rank {rank} (pod {name}-1-{rank}-xxxxx on node"), said
    assert "Restart 1 of 3 in 1 s. It resumes from round N." in said[0], said


@pytest.mark.e2e(seconds=30)
def test_a_drained_machine_costs_no_restart_and_the_job_goes_on_elsewhere(
    training: Training, cluster: Kubectl
) -> None:
    training.make_pool("moving", maxNodes=1, nodeSelector={"kubernetes.io/os": "linux"})
    training.short("drained", ROUNDS, computePool="moving", restartBackoffSeconds=1)
    training.trains("drained", rounds=20)
    machine = machine_of(training, "drained", 0)
    try:
        cluster.run(
            "drain", machine, "--ignore-daemonsets", "--delete-emptydir-data", "--force",
            "--pod-selector=mlpools.dev/job-name=drained", "--timeout=90s",
        )  # fmt: skip
        assert machine_of(training, "drained", 0) != machine
    finally:
        cluster.run("uncordon", machine)
    status = training.completed("drained")
    assert (status["attempt"], status["restarts"]) == (2, 0), status
    saved = training.stopped_after("drained", 1)
    assert training.resumed_at("drained") == saved
    assert training.first_round("drained", 2) == saved + 1
    said = screen.events(cluster, "TrainingJob", "drained")
    assert said[0].startswith("Warning Preempted Rank 0 (pod drained-1-0-xxxxx"), said
    assert "this does not count against maxRestarts" in said[0], said


@pytest.mark.e2e(seconds=120)
def test_a_lost_machine_is_named_and_the_job_goes_on_elsewhere(
    training: Training, instance: Instance
) -> None:
    training.cluster.run("patch", "computepool", "tests", "--type=merge", "-p", '{"spec":{"placement":null}}')
    training.short("lost", ROUNDS, checkpoint=EVERY_TEN, restartBackoffSeconds=1)
    wait_for("tenth round's checkpoint", lambda: checkpoint_step(training, "lost") >= 10, 90, every=0.3)
    machine = int(machine_of(training, "lost", 0).removeprefix("node"))
    instance.kill_node(machine)
    try:
        status = training.ended("lost", seconds=240)
    finally:
        instance.restart_node(machine)
    assert status["phase"] == "Succeeded", status
    assert status["attempt"] == 2
    assert training.resumed_at("lost") >= 10


@pytest.mark.full
@pytest.mark.e2e(seconds=75)
def test_a_pod_without_a_network_is_named_by_its_peer_and_the_job_goes_on(
    training: Training, cluster: Kubectl, instance: Instance
) -> None:
    """Its machine loses the pod's packets; the kubelet still sees it, and reports its end as any other's."""
    training.short("cut", ROUNDS, nodes=2, checkpoint=EVERY_TEN, restartBackoffSeconds=1)
    wait_for("twentieth round's checkpoint", lambda: checkpoint_step(training, "cut") >= 20, 90, every=0.3)
    pods = {it["metadata"]["labels"][RANK]: it for it in training.pods("cut", attempt=1)}
    machine = next(it for it in instance.nodes if it.name == pods["1"]["spec"]["nodeName"])
    with cut_off(machine.inside, pods["1"]["status"]["podIP"]):
        status = training.completed("cut")
    assert (status["attempt"], status["restarts"]) == (2, 1), status
    failed = {it["rank"]: it for it in status["nodes"]["failed"]}
    assert {rank: it["reason"] for rank, it in failed.items()} == {0: "PeerLost", 1: "PeerLost"}, failed
    assert all(f"Rank {1 - rank} has not been heard for " in it["message"] for rank, it in failed.items())
    assert training.resumed_at("cut") >= 20
    assert training.first_round("cut", 2) == training.resumed_at("cut") + 1
    said = screen.events(cluster, "TrainingJob", "cut")
    assert said[0].startswith("Warning PeerLost Rank "), said
    assert "It resumes from round N." in said[0], said
