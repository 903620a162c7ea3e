"""A pool on real machines: warm nodes that a job takes over, sleep when nobody comes, and waking by a job."""

from __future__ import annotations

import pytest

from tests.support import screen
from tests.support.training import Object, Training
from tests.support.waiting import wait_for
from tools.kubectl import Kubectl
from tools.quickstart import install

#: Of this shape one fits on a machine of the cluster, so a job gets there only in a placeholder's place.
ROOM = {"cpu": "1100m", "memory": "1Gi"}


def placeholders(cluster: Kubectl, pool: str) -> list[str]:
    """Names of the pool's placeholders that are not on their way out."""
    pods = cluster.list("pods", selector=f"mlpools.dev/pool={pool}", namespace=install.NAMESPACE)
    return [it["metadata"]["name"] for it in pods if "deletionTimestamp" not in it["metadata"]]


@pytest.mark.e2e(seconds=40)
def test_a_warm_pool_is_taken_over_falls_asleep_and_is_woken_by_a_job(
    training: Training, cluster: Kubectl
) -> None:
    def shown(line: str) -> str | None:
        lines = screen.table(cluster, "computepool", "warm")
        return line if lines[1] == f"warm {line} AGE" else None

    def wait(line: str, seconds: float = 60) -> None:
        try:
            wait_for(f"`{line}`", lambda: shown(line), seconds, every=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error} There is: {cluster.get('computepool', 'warm')}") from None

    training.make_pool(
        "warm", instance=ROOM, minNodes=1, maxNodes=1, autoSuspendSeconds=6,
        nodeSelector={"kubernetes.io/hostname": "node2"},
    )  # fmt: skip
    wait("Idle 1100m CPU, 1Gi 0/1/1 0 0")
    (warm,) = placeholders(cluster, "warm")
    training.short("guest", 60, computePool="warm")
    training.until("guest", phase="Running", seconds=60)
    (pod,) = training.pods("guest")
    assert pod["spec"]["nodeName"] == "node2"
    assert cluster.get("pod", warm, install.NAMESPACE) is None
    assert placeholders(cluster, "warm") == []
    wait("Active 1100m CPU, 1Gi 1/0/1 1 0")
    training.completed("guest")
    wait("Suspended 1100m CPU, 1Gi 0/0/1 0 0")
    assert placeholders(cluster, "warm") == []
    told = _pool(cluster)["status"]
    sleeps = (
        "Pool warm fell asleep at TIME, as nobody used it. The next job wakes it, and so does the annotation "
        "mlpools.dev/start-requested-at with a later time."
    )
    assert told["suspendedSince"]
    assert sleeps in screen.description(cluster, "cp", "warm")

    training.short("caller", 2, computePool="warm")
    training.completed("caller")
    assert screen.events(cluster, "ComputePool", "warm")[:2] == [
        f"Normal Suspended {sleeps}",
        "Normal Resumed Pool warm slept and is waking up; it admits jobs in a moment.",
    ]
    wait("Idle 1100m CPU, 1Gi 0/1/1 0 0")


def _pool(cluster: Kubectl) -> Object:
    pool = cluster.get("computepool", "warm")
    assert pool is not None
    return pool
