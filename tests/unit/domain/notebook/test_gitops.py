"""What GitOps tools see of a notebook at each stage of its life."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlpools_operator.domain import times
from tests.support.domain_run import NAMESPACE, Run
from tests.support.gitops import argo_cd, kstatus

KIND, NAME = "NotebookRuntime", "alice"
Story = Callable[[Run], None]


def until(phase: str, **fields: object) -> Story:
    def play(run: Run) -> None:
        run.submit(NAME, KIND, idleSeconds=600, **fields)
        run.until(NAME, phase)

    return play


def queued(run: Run) -> None:
    run.submit("holder", nodes=4)
    run.go(2)
    until("Queued")(run)
    run.go(2)


def unused(run: Run) -> None:
    until("Running")(run)
    run.go(40, 10.0)


def forgotten(run: Run) -> None:
    until("Running")(run)
    run.go(90, 10.0)


def stopped_by_the_pool(run: Run) -> None:
    until("Running")(run)
    moment = times.stamp(run.clock())
    run.clock.advance(5)
    pool = run.world.get("ComputePool", "", "cpu")["spec"]
    run.world.replace_spec("ComputePool", "", "cpu", {**pool, "stopAll": moment})
    run.until(NAME, "Stopped")


def changed(run: Run) -> None:
    until("Running")(run)
    run.change(NAME, idleSeconds=700)


def paused(run: Run) -> None:
    until("Running")(run)
    run.annotate(NAME, "mlpools.dev/paused", "true", KIND)
    run.go(2)


STAGES: dict[str, tuple[Story, str, str, str]] = {
    "queued": (queued, "InProgress", "Progressing", "Queued: WaitingForNodes"),
    "starting": (until("Starting"), "InProgress", "Progressing", "Starting"),
    "running": (until("Running"), "Current", "Healthy", "Running"),
    "unused": (unused, "Current", "Healthy", "Idle"),
    "forgotten": (forgotten, "Current", "Healthy", "Stopped: Idle"),
    "suspended": (until("Stopped", suspend=True), "Current", "Healthy", "Stopped: Suspended"),
    "stopped by the pool": (stopped_by_the_pool, "Current", "Healthy", "Stopped: StopAll"),
    "invalid": (until("Failed", runtime={"image": 7}), "Failed", "Degraded", "InvalidSpec: "),
    "changed, not seen": (changed, "InProgress", "Progressing", "Waiting for the operator to see"),
    "paused": (paused, "Current", "Healthy", "Running"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_notebook(stage: str) -> None:
    story, wanted, health, words = STAGES[stage]
    run = Run(steps=1000)
    story(run)
    notebook = run.world.get(KIND, NAMESPACE, NAME)
    assert kstatus(notebook) == wanted
    status, message = argo_cd(notebook)
    assert status == health
    assert message.startswith(words), message
    assert [it["type"] for it in notebook["status"]["conditions"] if not it["message"]] == []


def test_before_the_operator_has_looked_argo_cd_waits() -> None:
    run = Run()
    run.submit(NAME, KIND)
    assert argo_cd(run.world.get(KIND, NAMESPACE, NAME))[0] == "Progressing"
