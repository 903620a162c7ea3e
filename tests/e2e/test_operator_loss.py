"""Two operators: the one that leads is killed while a job trains, and nobody but the queue notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.training import Training
from tests.support.waiting import wait_for
from tools import images
from tools.kubectl import Kubectl
from tools.quickstart import install

LEASE = "mlpools-operator"


@pytest.fixture
def two_operators(cluster: Kubectl, built: dict[str, images.Archive]) -> Iterator[None]:
    """Two replicas while the test runs, then as many as before."""
    references = {target: archive.reference for target, archive in built.items()}
    install.operator(cluster, references, replicas=2)
    yield
    install.operator(cluster, references, replicas=install.LOCAL_REPLICAS)


def leader(cluster: Kubectl) -> str:
    """Name of the pod that leads, empty if none does."""
    lease = cluster.get("lease", LEASE, install.NAMESPACE)
    return str((lease or {}).get("spec", {}).get("holderIdentity") or "")


@pytest.mark.e2e(seconds=70)
@pytest.mark.usefixtures("two_operators")
def test_another_operator_leads_when_the_leader_is_killed_and_no_job_starts_twice(
    training: Training, cluster: Kubectl
) -> None:
    training.make_pool("kept", maxNodes=1)
    training.endless("holds", computePool="kept")
    training.trains("holds")
    training.short("waits", 2, computePool="kept")
    training.until("waits", reason="WaitingForNodes", seconds=60)
    (pod,) = training.pods("holds")
    killed = leader(cluster)
    assert cluster.get("pod", killed, install.NAMESPACE) is not None
    cluster.run("delete", "pod", killed, f"--namespace={install.NAMESPACE}", "--force", "--grace-period=0")

    def other() -> str | None:
        now = leader(cluster)
        return now if now and now != killed else None

    wait_for("another leader", other, 90, every=0.3)
    before = training.status("holds")["progress"]["step"]
    training.trains("holds", rounds=before + 1)
    assert training.status("waits")["phase"] == "Queued"
    training.change("holds", cancel=True)
    done = training.completed("waits")
    assert (done["attempt"], done["restarts"]) == (1, 0), done
    stopped = training.status("holds")
    assert (stopped["phase"], stopped["attempt"]) == ("Cancelled", 1), stopped
    known = {it["metadata"]["uid"] for it in training.pods("holds")}
    assert known <= {pod["metadata"]["uid"]}
    assert stopped["output"]["checkpointStep"] == training.stopped_after("holds", 1)
