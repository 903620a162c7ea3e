"""A notebook before a real API server and its StatefulSet controller; the test plays what runs in pods."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Activity
from mlpools_operator.domain import times
from tests.support.bench import Bench
from tests.support.kube import ApiError, Object
from tests.support.manifests import manifest
from tests.support.rank_0 import Rank0, rank_0
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

NAME, CLAIM, TOKEN = "nb-alice", "nb-alice-workspace", "nb-alice-token"
GONE = Final(Exit.PREEMPTED, rank=0)
LONG_AGO = 7200.0


@pytest.fixture
def pod() -> Iterator[Rank0]:
    with rank_0() as answering:
        answering.value = seen()
        yield answering


@pytest.fixture
def notebooks(bench: Bench) -> Bench:
    return bench.of("NotebookRuntime")


def seen(unused: float = 0.0, attempt: int = 1) -> Activity:
    return Activity(attempt=attempt, serving=True, unused_seconds=unused, untouched_seconds=unused)


def submit(bench: Bench, **fields: Any) -> None:
    bench.kube.create(
        manifest("NotebookRuntime", "alice", {"computePool": bench.pool, **fields}), bench.namespace
    )


def run(bench: Bench, pod: Rank0, attempt: int = 1) -> Object:
    """Start the notebook's pod; return the notebook once it serves."""
    pod.value = seen(attempt=attempt)
    pods = bench.kubelet.pods("alice", attempt, 1)
    bench.kubelet.run(pods, pod.address)
    return bench.phase("alice", "Running")


def stopped(bench: Bench) -> Object:
    """End the pod that was told to, until the notebook rests; return its status."""

    def look() -> Object | None:
        bench.kubelet.terminate(GONE)
        status: Object = bench.job("alice")["status"]
        return status if status["phase"] == "Stopped" else None

    return wait_for("a stopped notebook", look)


def there(bench: Bench, kind: str, name: str) -> Object | None:
    return bench.kube.find(kind, name, bench.namespace)


def active(bench: Bench) -> int:
    return int(bench.kube.get("ComputePool", bench.pool)["status"]["nodes"]["active"])


def backdate(bench: Bench) -> None:
    """Make a notebook, of which no operator knows, one that began to serve long ago."""
    status = bench.job("alice")["status"]
    before = times.stamp(time.time() - LONG_AGO)
    conditions = [{**it, "lastTransitionTime": before} for it in status["conditions"]]
    changed = {"conditions": conditions, "lastActivityTime": before}
    bench.kube.patch("NotebookRuntime", "alice", {"status": changed}, bench.namespace, "status")


def test_it_is_started_stopped_and_started_again_with_what_it_had(notebooks: Bench, pod: Rank0) -> None:
    bench = notebooks
    bench.operator().wait_ready()
    submit(bench, storage={"size": "2Gi", "storageClassName": "fast"})
    began = time.time()
    status = run(bench, pod)["status"]
    assert status["url"] == f"http://{NAME}.{bench.namespace}.svc.cluster.local:8888/"
    secret = there(bench, "Secret", TOKEN)
    assert secret is not None
    assert len(base64.b64decode(secret["data"]["token"])) >= 32
    claim = there(bench, "PersistentVolumeClaim", CLAIM)
    assert claim is not None
    assert there(bench, "Service", NAME)
    assert there(bench, "NetworkPolicy", NAME)
    assert began - 1 < times.seconds(status["lastActivityTime"]) < time.time() + 1

    bench.change("alice", suspend=True, runtime={"image": "registry/ml/notebook:2"}, command=["serve"])
    assert stopped(bench)["reason"] == "Suspended"
    assert there(bench, "StatefulSet", NAME) is None
    wait_for("a free node", lambda: active(bench) == 0)
    bench.change("alice", suspend=False)
    assert run(bench, pod, attempt=2)["status"]["image"] == "registry/ml/notebook:2"
    again = there(bench, "PersistentVolumeClaim", CLAIM)
    assert again is not None
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]

    bench.kube.delete("NotebookRuntime", "alice", bench.namespace)
    wait_for("no StatefulSet", lambda: there(bench, "StatefulSet", NAME) is None)
    wait_for("no token", lambda: there(bench, "Secret", TOKEN) is None)
    wait_for("no pod", lambda: bench.kubelet.collect() or not bench.kubelet.there("alice", 2))
    submit(bench, storage={"size": "1Gi"})
    run(bench, pod)
    taken = there(bench, "PersistentVolumeClaim", CLAIM)
    assert taken is not None
    assert taken["metadata"]["uid"] == claim["metadata"]["uid"]
    assert taken["spec"]["resources"]["requests"]["storage"] == "2Gi"


def test_idleness_is_counted_across_restarts_and_ends_by_a_wish_only(notebooks: Bench, pod: Rank0) -> None:
    bench = notebooks
    first = bench.operator().wait_ready()
    submit(bench, idleSeconds=3600)
    run(bench, pod)
    first.kill()
    backdate(bench)
    pod.value = seen(unused=10.0)  # a person came while nobody looked
    second = bench.operator().wait_ready()
    wait_for("news of the use", lambda: times.seconds(bench.job("alice")["status"]["idleAt"]) > time.time())
    second.kill()
    backdate(bench)
    pod.value = seen(unused=LONG_AGO)
    began = time.time()
    bench.operator().wait_ready()
    status = stopped(bench)
    assert status["reason"] == "Idle"
    assert began - 1 < times.seconds(status["stoppedAt"]) < time.time() + 1

    spec = manifest("NotebookRuntime", "alice", {"computePool": bench.pool, "idleSeconds": 3600})
    bench.kube.apply(spec, bench.namespace, manager="gitops")
    bench.change("alice", idleSeconds=3601)
    wait_for(
        "a look at the changed spec",
        lambda: (
            bench.job("alice")["status"]["observedGeneration"] == bench.job("alice")["metadata"]["generation"]
        ),
    )
    assert bench.job("alice")["status"]["phase"] == "Stopped"
    wish = {"mlpools.dev/start-requested-at": times.stamp(time.time() + 1)}
    bench.kube.patch("NotebookRuntime", "alice", {"metadata": {"annotations": wish}}, bench.namespace)
    assert run(bench, pod, attempt=2)["status"]["attempt"] == 2


def test_a_deleted_token_is_made_again_and_another_ones_claim_is_left_alone(
    notebooks: Bench, pod: Rank0
) -> None:
    bench = notebooks
    operator = bench.operator().wait_ready()
    submit(bench)
    run(bench, pod)
    bench.kube.delete("Secret", TOKEN, bench.namespace)
    operator.kill()  # a new one has not made it yet, as far as it knows
    bench.operator().wait_ready()
    wait_for("a token", lambda: there(bench, "Secret", TOKEN))

    stranger = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "nb-bob-workspace"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    before = bench.kube.create(stranger, bench.namespace)
    bench.kube.create(manifest("NotebookRuntime", "bob", {"computePool": bench.pool}), bench.namespace)
    wait_for("a conflict", lambda: bench.job("bob").get("status", {}).get("reason") == "NameConflict")
    assert (
        bench.kube.get("PersistentVolumeClaim", "nb-bob-workspace", bench.namespace)["metadata"]["uid"]
        == before["metadata"]["uid"]
    )


def test_scaling_what_names_no_cluster_is_refused_in_words(notebooks: Bench) -> None:
    submit(notebooks, suspend=True)
    with pytest.raises(ApiError, match="raise maxNodes first"):
        notebooks.kube.patch(
            "NotebookRuntime", "alice", {"spec": {"replicas": 3}}, notebooks.namespace, "scale"
        )


def sentence(bench: Bench, reason: str) -> str:
    """Wait until the notebook says why it is not ready, and return the sentence."""

    def look() -> str:
        conditions = bench.job("alice").get("status", {}).get("conditions", ())
        return next(
            (it["message"] for it in conditions if (it["type"], it["reason"]) == ("Ready", reason)), ""
        )

    return wait_for(f"reason {reason}", look, 60)


def test_a_storage_class_that_there_is_not_is_told_in_the_clusters_words(notebooks: Bench) -> None:
    bench = notebooks
    bench.operator().wait_ready()
    submit(bench, storage={"storageClassName": "no-such-class"})
    words = sentence(bench, "VolumeUnavailable")
    assert f"claim {CLAIM}, gets no volume of storage class no-such-class" in words
    assert '"no-such-class" not found' in words


def test_a_volume_that_cannot_attach_is_told_in_the_kubelets_words(notebooks: Bench) -> None:
    bench = notebooks
    bench.operator().wait_ready()
    submit(bench)
    (pod,) = bench.kubelet.pods("alice", 1, 1)
    bench.kubelet.place([pod])
    about = {key: pod["metadata"][key] for key in ("name", "namespace", "uid")}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "nb-alice-0.1"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", **about},
        "type": "Warning",
        "reason": "FailedAttachVolume",
        "message": "Multi-Attach error for volume pvc-1: it is used by another machine.",
        "lastTimestamp": times.stamp(time.time()),
    }
    bench.kube.create(event, bench.namespace)
    assert "Multi-Attach error for volume pvc-1" in sentence(bench, "VolumeUnavailable")


def test_a_workspace_that_a_quota_refuses_is_told_and_made_once_it_may_be(notebooks: Bench) -> None:
    bench = notebooks
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    bench.kube.create({**quota, "spec": {"hard": {"persistentvolumeclaims": "0"}}}, bench.namespace)
    wait_for(
        "quota in force",
        lambda: bench.kube.get("ResourceQuota", "none", bench.namespace).get("status", {}).get("hard"),
    )
    bench.operator().wait_ready()
    submit(bench)
    assert "exceeded quota: none" in sentence(bench, "PodsRefused")
    bench.kube.delete("ResourceQuota", "none", bench.namespace)
    wait_for("a workspace", lambda: there(bench, "PersistentVolumeClaim", CLAIM), 60)
