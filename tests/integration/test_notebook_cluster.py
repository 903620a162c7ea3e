"""The cluster of a notebook before a real API server: its nodes, its one right, and `kubectl scale`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mlpools import cluster
from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Activity
from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import NOTEBOOK_ENV
from mlpools.errors import InvalidSpec, StartTimeout
from mlpools.train.launchers import ray_cluster
from mlpools.train.launchers.ray_cluster import Node
from tests.support.bench import Bench
from tests.support.kube import ApiError, Kube, Object
from tests.support.manifests import manifest
from tests.support.rank_0 import Rank0, rank_0
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

NAME = "nb-alice"
DASHBOARD = "http://127.0.0.1:8265"


@pytest.fixture
def pod() -> Iterator[Rank0]:
    with rank_0() as answering:
        answering.value = Activity(1, True, 0.0, 0.0, dashboard=DASHBOARD)
        yield answering


@pytest.fixture
def notebooks(bench: Bench) -> Bench:
    bench.kube.patch("ComputePool", bench.pool, {"spec": {"maxNodes": 3}})
    return bench.of("NotebookRuntime")


def started(bench: Bench, pod: Rank0, nodes: int, most: int) -> None:
    """Start a notebook; its pod runs."""
    bench.operator().wait_ready()
    asked = {"computePool": bench.pool, "cluster": {"nodes": nodes, "maxNodes": most}}
    bench.kube.create(manifest("NotebookRuntime", "alice", asked), bench.namespace)
    (server,) = wait_for("the notebook's pod", lambda: parts(bench, "server"))
    bench.kubelet.run([server], pod.address)
    bench.phase("alice", "Running")


def parts(bench: Bench, part: str) -> list[Object]:
    selector = f"mlpools.dev/job-name=alice,mlpools.dev/part={part}"
    found = bench.kube.list("Pod", bench.namespace, selector)
    alive = [pod for pod in found if pod["status"]["phase"] in ("Pending", "Running")]
    return [pod for pod in alive if "deletionTimestamp" not in pod["metadata"]]


def told(bench: Bench) -> Object:
    found: Object = bench.job("alice")["status"].get("cluster", {})
    return found


def has(bench: Bench, nodes: int) -> None:
    """Run whatever pods come, and end those that go, until there are so many further nodes."""

    def look() -> bool:
        bench.kubelet.terminate(Final(Exit.PREEMPTED, rank=0))
        there = parts(bench, "node")
        for waiting in (it for it in there if it["status"]["phase"] == "Pending"):
            with contextlib.suppress(ApiError):  # it was told to go since it was looked at
                bench.kubelet.run([waiting])
        counts = (told(bench).get("nodes", 0), told(bench).get("ready", 0), len(there))
        return counts == (nodes, nodes, nodes)

    wait_for(f"{nodes} further nodes", look)


def inside(bench: Bench) -> Kube:
    """Return the API server as the notebook's own account sees it."""
    path = f"/api/v1/namespaces/{bench.namespace}/serviceaccounts/{NAME}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = bench.kube.request("POST", path, asked)["status"]["token"]
    return Kube(bench.kube.server, bench.kube.ca, token)


def test_it_is_scaled_by_kubectl_loses_a_node_and_rests_with_all_of_it(notebooks: Bench, pod: Rank0) -> None:
    bench = notebooks
    started(bench, pod, nodes=1, most=3)
    has(bench, 1)
    (server,) = parts(bench, "server")
    bench.kube.patch("NotebookRuntime", "alice", {"spec": {"replicas": 3}}, bench.namespace, "scale")
    has(bench, 2)
    wait_for("why there are no more", lambda: "has at most 3" in told(bench).get("message", ""))
    scale = bench.kube.request("GET", scale_path(bench))
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 2)
    wait_for("the dashboard", lambda: told(bench).get("dashboardURL") == DASHBOARD)

    (lost, *_) = parts(bench, "node")
    bench.kubelet.finish([lost], code=137)
    wait_for("another node", lambda: lost["metadata"]["uid"] not in uids(parts(bench, "node")))
    has(bench, 2)
    assert uids(parts(bench, "server")) == uids([server])

    bench.kube.patch("NotebookRuntime", "alice", {"spec": {"replicas": 0}}, bench.namespace, "scale")
    has(bench, 0)
    bench.kube.patch("NotebookRuntime", "alice", {"spec": {"replicas": 1}}, bench.namespace, "scale")
    has(bench, 1)

    bench.change("alice", suspend=True)

    def rests() -> bool:
        bench.kubelet.terminate(Final(Exit.PREEMPTED, rank=0))
        return bool(bench.job("alice")["status"]["phase"] == "Stopped")

    wait_for("a stopped notebook", rests)
    assert bench.kube.list("Job", bench.namespace) == []
    assert "cluster" not in bench.job("alice")["status"]


def scale_path(bench: Bench) -> str:
    return f"/apis/mlpools.dev/v1alpha1/namespaces/{bench.namespace}/notebookruntimes/alice/scale"


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def test_from_inside_it_may_scale_itself_and_nothing_else(
    notebooks: Bench, pod: Rank0, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = notebooks
    started(bench, pod, nodes=0, most=1)
    bench.kube.create(manifest("NotebookRuntime", "bob", {"computePool": bench.pool}), bench.namespace)
    own = inside(bench)
    change: dict[str, Any] = {"spec": {"runtime": {"image": "evil:1"}}}
    for call in (
        lambda: own.patch("NotebookRuntime", "alice", change, bench.namespace),
        lambda: own.patch("NotebookRuntime", "bob", {"spec": {"replicas": 0}}, bench.namespace, "scale"),
        lambda: own.get("NotebookRuntime", "alice", bench.namespace),
        lambda: own.list("Secret", bench.namespace),
        lambda: own.list("Pod", bench.namespace),
    ):
        with pytest.raises(ApiError) as refused:
            call()
        assert refused.value.code == 403

    stands_inside(bench, own, tmp_path, monkeypatch)
    assert cluster.scale_cluster(2, is_async=True)
    has(bench, 1)
    with pytest.raises(InvalidSpec) as above:
        cluster.scale_cluster(3)
    assert str(above.value).startswith("The cluster was not scaled: ")
    assert str(above.value).endswith("raise maxNodes first.")
    assert bench.job("alice")["spec"]["cluster"]["nodes"] == 1
    other = Notebook(bench.namespace, "bob", "u", 1, 8888, 5, 5, cluster=True)
    monkeypatch.setenv(NOTEBOOK_ENV, other.to_json())
    with pytest.raises(InvalidSpec, match="forbidden"):
        cluster.scale_cluster(2)
    own.close()


def stands_inside(bench: Bench, own: Kube, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``mlpools.cluster`` find what it finds in the pod of the notebook."""
    place = urlsplit(own.server)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(place.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(place.port))
    task = Notebook(bench.namespace, "alice", "u", 1, 8888, 5, 5, cluster=True)
    monkeypatch.setenv(NOTEBOOK_ENV, task.to_json())
    monkeypatch.setattr(cluster, "_ACCOUNT", folder)
    (folder / "token").write_text(own.token)
    (folder / "ca.crt").write_bytes(own.ca.read_bytes())


def test_nodes_that_do_not_join_in_time_are_given_back(
    notebooks: Bench, pod: Rank0, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = notebooks
    started(bench, pod, nodes=1, most=3)
    has(bench, 1)
    own = inside(bench)
    stands_inside(bench, own, tmp_path, monkeypatch)

    def joined() -> list[Node]:
        """Tell of the nodes that run; a further one is made meanwhile, and never runs."""
        wait_for("a node that does not come", lambda: len(parts(bench, "node")) == 2)
        return [Node(str(number), f"10.0.0.{number}", {"CPU": 2.0}) for number in range(2)]

    monkeypatch.setattr(ray_cluster, "nodes", joined)
    with pytest.raises(StartTimeout, match="Of 3 nodes 2 were there after 0 s, so 2 are asked for again"):
        cluster.scale_cluster(3, rollback_after_seconds=0)
    assert bench.job("alice")["spec"]["cluster"]["nodes"] == 1
    has(bench, 1)
    own.close()
