"""What pods are told of the network that their pool wants, and what the job tells of it."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools.contract.reports import Report
from mlpools.contract.tasks import Fabric, Task
from mlpools_operator.api.v1alpha1 import TrainingJobStatus
from mlpools_operator.domain.attempt.failures import Cause, Gravity
from mlpools_operator.domain.training import account
from tests.support.built import build, variables
from tests.support.domain_values import NOW

GPUS = {"instance": {"cpu": 1, "memory": "1Gi", "gpus": 8}}
RDMA = {"profile": "RDMA", "resources": {"rdma/hca": 1}}


def told(nodes: int = 2, **pool: Any) -> dict[str, Any]:
    return Task.from_json(variables(build({"nodes": nodes}, pool=pool))["MLPOOLS_TASK"]).fabric


@pytest.mark.parametrize(
    ("pool", "minimum"),
    [
        ({}, 0.0),
        ({"network": RDMA}, 0.0),  # without GPUs it is not RDMA that is measured
        (GPUS, 0.0),
        ({**GPUS, "network": RDMA}, 2.0),
        ({**GPUS, "network": {"profile": "EFA"}}, 2.0),
    ],
)
def test_the_profile_says_how_fast_if_the_pool_does_not(pool: dict[str, Any], minimum: float) -> None:
    assert Fabric.from_dict(told(**pool, preflight={"enabled": True})).minimum == minimum
    own = {"enabled": True, "minBusBandwidthGBs": 0.5, "timeoutSeconds": 30}
    wanted = Fabric(0.5, 30, gpus=8 if "instance" in pool else 0)
    assert Fabric.from_dict(told(**pool, preflight=own)) == wanted


def test_nothing_is_measured_unasked_or_on_one_node() -> None:
    assert told() == {}
    assert told(nodes=1, preflight={"enabled": True}) == {}


def test_a_job_tells_once_what_each_attempt_found() -> None:
    report = Report("Working", attempt=2, fabric="The slowest link carries 3 GB/s.")
    before = TrainingJobStatus(attempt=2)
    (found,) = account.reported(before, report, NOW).values()
    assert (found.attempt, found.verified, found.message) == (2, True, report.fabric)
    assert account.reported(TrainingJobStatus(attempt=2, fabric=found), report, NOW + 9) == {}


def test_a_pod_may_say_anything() -> None:
    report = Report("Working", attempt=2, fabric=["no", "text"])  # type: ignore[arg-type]
    assert account.reported(TrainingJobStatus(attempt=2), report, NOW) == {}
    long = Report("Working", attempt=2, fabric="x" * 5000)
    assert len(account.reported(TrainingJobStatus(attempt=2), long, NOW)["fabric"].message) <= 512


def test_an_attempt_that_failed_of_its_network_says_so() -> None:
    before = TrainingJobStatus(attempt=3)
    slow = Cause(Gravity.CRASH, "FabricTooSlow", "It is slow.")
    found = account.failed(before, slow, NOW)["fabric"]
    assert (found.attempt, found.verified, found.message) == (3, False, "It is slow.")
    assert account.failed(before, Cause(Gravity.CRASH, "Hung", "It hangs."), NOW) == {}
