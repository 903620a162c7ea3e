"""A pod or a machine dies: the attempt is repeated from the last checkpoint, and the job completes."""

from __future__ import annotations

import json

import pytest
import xgboost as xgb

from tests.support.training import Object, Training
from tests.support.waiting import wait_for
from tools.cluster.instance import Instance
from tools.quickstart.follow import condition

LONG = {"rounds": 160, "label": "arr_delay", "params": {"max_depth": 8, "eta": 0.05}}


def checkpoint_step(training: Training, name: str) -> int:
    """Round of the newest committed checkpoint on the volume."""
    commits = (training.output(name) / "checkpoints").glob("*/step-*/COMMIT")
    return max((int(path.parent.name.rpartition("-")[2]) for path in commits), default=0)


def resumed_at(training: Training, name: str) -> int:
    """Round from which the finished attempt went on, by its result."""
    step: int = json.loads((training.output(name) / "result.json").read_text())["resumedFromStep"]
    return step


@pytest.mark.e2e(seconds=120)
def test_a_killed_pod_costs_at_most_the_rounds_since_the_checkpoint(training: Training) -> None:
    training.submit("killed", xgboost=LONG, checkpoint={"everyRounds": 5}, restartBackoffSeconds=1)
    wait_for("tenth round's checkpoint", lambda: checkpoint_step(training, "killed") >= 10, 90, every=0.3)
    victim = next(pod for pod in training.pods("killed") if pod["metadata"]["name"].startswith("killed-1-1-"))
    saved = checkpoint_step(training, "killed")
    training.cluster.run(
        "exec", victim["metadata"]["name"], "-c", "main", "--", "python", "-c",
        "import os, signal; [os.kill(int(p), signal.SIGKILL) for p in os.listdir('/proc') if p.isdigit()"
        " and b'-m\\0mlpools.runtime' in open(f'/proc/{p}/cmdline', 'rb').read()]",
    )  # fmt: skip
    status = training.ended("killed")
    assert condition(status, "Complete")["status"] == "True", status
    assert status["attempt"] == 2
    assert status["restarts"] == 1
    assert resumed_at(training, "killed") >= saved
    assert xgb.Booster(model_file=training.output("killed") / "model.ubj").num_boosted_rounds() == 160


@pytest.mark.e2e(seconds=150)
def test_a_lost_machine_is_named_and_the_job_goes_on_elsewhere(
    training: Training, instance: Instance
) -> None:
    training.cluster.run("patch", "computepool", "tests", "--type=merge", "-p", '{"spec":{"placement":null}}')
    training.submit("lost", nodes=1, xgboost=LONG, checkpoint={"everyRounds": 5}, restartBackoffSeconds=1)
    wait_for("fifth round's checkpoint", lambda: checkpoint_step(training, "lost") >= 5, 90, every=0.3)

    def running() -> Object | None:
        return next((pod for pod in training.pods("lost") if pod["status"]["phase"] == "Running"), None)

    machine = int(wait_for("running pod", running, 60, every=0.3)["spec"]["nodeName"].removeprefix("node"))
    instance.kill_node(machine)
    try:
        status = training.ended("lost", seconds=240)
    finally:
        instance.restart_node(machine)
    assert condition(status, "Complete")["status"] == "True", status
    assert status["attempt"] == 2
    assert resumed_at(training, "lost") >= 5
