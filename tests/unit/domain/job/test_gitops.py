"""What GitOps tools see of a job and a pool at each stage of their lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlpools.contract.ends import Exit
from mlpools_operator.domain import times
from mlpools_operator.domain.kinds import JOB_KINDS
from tests.support.api_server import Json
from tests.support.domain_run import NAMESPACE, Run
from tests.support.gitops import argo_cd, kstatus
from tests.unit.domain.attempt.test_stopping import evict

Story = Callable[[Run], None]


def until(phase: str, **changes: Any) -> Story:
    def play(run: Run) -> None:
        run.submit("flights", nodes=2, **changes)
        run.until("flights", phase)

    return play


def queued(run: Run) -> None:
    run.submit("holder", "TrainingJob", nodes=4)
    run.go(2)
    until("Queued")(run)


def restarting(run: Run) -> None:
    until("Running")(run)
    run.world.kill(run.pods("flights")[0])
    run.until("flights", "Restarting")


def failed(run: Run) -> None:
    until("Running")(run)
    run.world.kill(run.pods("flights")[0], Exit.USER_CODE, message="KeyError: 'dep_tme'")
    run.until("flights", "Failed")


def stopping(run: Run) -> None:
    until("Running")(run)
    run.change("flights", suspend=True)
    run.operator.pass_all()
    assert run.status("flights")["phase"] == "Running"


def preempted(run: Run) -> None:
    until("Running")(run)
    evict(run, "flights")
    run.until("flights", "Queued")


def cancelled(run: Run) -> None:
    until("Running")(run)
    run.change("flights", cancel=True)
    run.until("flights", "Cancelled")


def stopped_by_the_pool(run: Run) -> None:
    until("Running")(run)
    moment = times.stamp(run.clock())
    run.clock.advance(5)
    run.world.replace_spec("ComputePool", "", "cpu", {**pool(run)["spec"], "stopAll": moment})
    run.until("flights", "Cancelled")


def out_of_time(run: Run) -> None:
    until("Running")(run)
    run.change("flights", activeDeadlineSeconds=1)
    run.until("flights", "Failed")


def changed(run: Run) -> None:
    until("Running")(run)
    run.change("flights", priority=4)


def paused(run: Run) -> None:
    until("Running")(run)
    run.annotate("flights", "mlpools.dev/paused", "true", run.kind)
    run.go(2)


def expired(run: Run) -> None:
    run.submit("flights", ttlSecondsAfterFinished=1)
    run.annotate("flights", "argocd.argoproj.io/tracking-id", "x", run.kind)
    run.until("flights", "Succeeded")
    run.go(10)


JOBS: dict[str, tuple[Story, str, str, str]] = {
    "queued": (queued, "Current", "Healthy", "Queued: WaitingForNodes"),
    "starting": (until("Starting"), "Current", "Healthy", "Starting"),
    "running": (until("Running"), "Current", "Healthy", "Running"),
    "restarting": (restarting, "Current", "Healthy", "Restarting: WorkerCrashed"),
    "preempted": (preempted, "Current", "Healthy", "Queued: Preempted"),
    "stopping": (stopping, "Current", "Healthy", "Running: Suspended"),
    "suspended": (until("Suspended", suspend=True), "Current", "Healthy", "Suspended: Suspended"),
    "succeeded": (until("Succeeded"), "Current", "Healthy", "Succeeded, "),
    "cancelled": (cancelled, "Current", "Healthy", "Cancelled: Cancelled"),
    "stopped by the pool": (stopped_by_the_pool, "Failed", "Degraded", "Cancelled: "),
    "failed": (failed, "Failed", "Degraded", "UserCodeError: Rank 0 (pod flights-1-0-"),
    "out of time": (out_of_time, "Failed", "Degraded", "DeadlineExceeded: It has held its nodes"),
    "invalid": (
        until("Failed", runtime={"packages": ["polars==1"], "image": 7}),
        "Failed",
        "Degraded",
        "InvalidSpec: ",
    ),
    "changed, not seen": (changed, "InProgress", "Progressing", "Waiting for the operator to see"),
    "paused": (paused, "Current", "Healthy", "Running"),
    "expired": (expired, "Current", "Healthy", "Succeeded, "),
}


@pytest.mark.parametrize("kind", JOB_KINDS)
@pytest.mark.parametrize("stage", JOBS)
def test_a_job(stage: str, kind: str) -> None:
    story, wanted, health, words = JOBS[stage]
    run = Run(steps=3 if stage in ("succeeded", "expired") else 1000)
    run.kind = kind
    story(run)
    job = run.world.get(kind, NAMESPACE, "flights")
    assert kstatus(job) == wanted
    status, message = argo_cd(job)
    assert status == health
    assert message.startswith(words), message
    assert [it["type"] for it in job["status"]["conditions"] if not it["message"]] == []


def pool(run: Run) -> Json:
    return run.world.get("ComputePool", "", "cpu")


def unusable(run: Run) -> None:
    spec = {**pool(run)["spec"], "maxNodes": 0}
    run.world.replace_spec("ComputePool", "", "cpu", spec)
    run.go(3)


def asleep(run: Run) -> None:
    run.world.replace_spec("ComputePool", "", "cpu", {**pool(run)["spec"], "suspend": True})
    run.go(3)


POOLS: dict[str, tuple[Story, str, str, str]] = {
    "idle": (lambda run: run.go(3), "Current", "Healthy", "Idle, nodes 0/0/4"),
    "active": (until("Running"), "Current", "Healthy", "Active, nodes 2/0/4"),
    "suspended": (asleep, "Current", "Healthy", "Suspended, nodes 0/0/4"),
    "unusable": (unusable, "Failed", "Degraded", "InvalidSpec: "),
}


@pytest.mark.parametrize("stage", POOLS)
def test_a_pool(stage: str) -> None:
    story, wanted, health, words = POOLS[stage]
    run = Run(steps=1000)
    story(run)
    assert kstatus(pool(run)) == wanted
    status, message = argo_cd(pool(run))
    assert status == health
    assert message.startswith(words), message


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_before_the_operator_has_looked_argo_cd_waits(kind: str) -> None:
    run = Run()
    run.submit("flights", kind)
    for item in (run.world.get(kind, NAMESPACE, "flights"), pool(run)):
        assert argo_cd(item)[0] == "Progressing"
