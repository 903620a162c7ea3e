"""What the operator asks of a real API server, as its own account, and how it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mlpools_operator.cluster import objects
from mlpools_operator.cluster.connect import ConnectError, credentials
from mlpools_operator.cluster.errors import AlreadyExists, Conflict, Invalid, NotFound, Refused, Transient
from mlpools_operator.cluster.objects import Cluster
from mlpools_operator.cluster.transport import Request, Transport
from mlpools_operator.controller import read
from mlpools_operator.domain.plan import Delete, Event
from mlpools_operator.metrics import Metrics
from tests.support.bench import Bench

pytestmark = pytest.mark.integration

NOW = 1_800_000_000.0


@pytest.fixture
async def cluster(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(bench.kubeconfig))
    transport = Transport(Metrics(), threads=4)
    yield Cluster(transport)
    transport.close()


def policy(bench: Bench, name: str = "mine", labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": bench.namespace,
            "labels": {"app.kubernetes.io/managed-by": "mlpools"},
        },
        "spec": {"podSelector": {"matchLabels": labels or {"a": "1"}}},
    }


def batch_job(bench: Bench, name: str = "mine") -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": bench.namespace},
        "spec": {"template": template},
    }


async def test_an_apply_creates_once_and_takes_over_nobodys_object(cluster: Cluster, bench: Bench) -> None:
    made = await cluster.apply(policy(bench))
    with pytest.raises(Conflict):
        await cluster.apply(policy(bench, labels={"a": "2"}))
    there = bench.kube.get("NetworkPolicy", "mine", bench.namespace)
    assert there["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_an_apply_of_the_version_that_was_seen_replaces_all_our_fields(
    cluster: Cluster, bench: Bench
) -> None:
    made = await cluster.apply(policy(bench, labels={"a": "1", "b": "1"}))
    version = made["metadata"]["resourceVersion"]
    changed = await cluster.apply(policy(bench, labels={"a": "2"}), resource_version=version)
    assert changed["spec"]["podSelector"] == {"matchLabels": {"a": "2"}}
    with pytest.raises(Conflict):
        await cluster.apply(policy(bench, labels={"a": "3"}), resource_version=version)


async def test_an_object_is_created_once(cluster: Cluster, bench: Bench) -> None:
    await cluster.create(batch_job(bench))
    with pytest.raises(AlreadyExists):
        await cluster.create(batch_job(bench))


async def test_only_the_object_that_was_meant_is_deleted(cluster: Cluster, bench: Bench) -> None:
    made = await cluster.create(batch_job(bench))
    uid = made["metadata"]["uid"]
    with pytest.raises(Conflict):
        await cluster.delete(Delete("Job", bench.namespace, "mine", "11111111-1111-1111-1111-111111111111"))
    await cluster.delete(Delete("Job", bench.namespace, "mine", uid))
    with pytest.raises(NotFound):
        await cluster.delete(Delete("Job", bench.namespace, "mine", uid))


async def test_a_status_is_replaced_whole_and_only_over_what_was_seen(cluster: Cluster, bench: Bench) -> None:
    made = bench.submit("mine")
    meta = read.meta(made)
    long = {"phase": "Queued", "reason": "x", "attempt": 0, "restarts": 0}
    stored = await cluster.replace_status("TrainingJob", meta, long)
    with pytest.raises(Conflict):
        await cluster.replace_status("TrainingJob", meta, {"phase": "Running"})
    short = await cluster.replace_status("TrainingJob", read.meta(stored), {"phase": "Starting"})
    assert short["status"].get("phase") == "Starting"
    assert "reason" not in short["status"]
    assert short["spec"] == made["spec"]
    assert short["metadata"]["generation"] == 1


async def test_a_status_of_a_former_object_is_not_written_onto_its_successor(
    cluster: Cluster, bench: Bench
) -> None:
    meta = read.meta(bench.submit("mine"))
    bench.kube.delete("TrainingJob", "mine", bench.namespace)
    bench.submit("mine")
    with pytest.raises(Conflict):
        await cluster.replace_status("TrainingJob", meta, {"phase": "Queued"})


async def test_a_status_that_breaks_the_schema_is_invalid(cluster: Cluster, bench: Bench) -> None:
    meta = read.meta(bench.submit("mine"))
    with pytest.raises(Invalid):
        await cluster.replace_status("TrainingJob", meta, {"attempt": "first"})


async def test_a_list_comes_in_pages_and_only_as_metadata(
    cluster: Cluster, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PAGE", 2)
    made = {(await cluster.apply(policy(bench, f"p{number}")))["metadata"]["uid"] for number in range(5)}
    stranger = policy(bench, "stranger")
    del stranger["metadata"]["labels"]
    bench.kube.create(stranger)
    listing = await cluster.listing("NetworkPolicy", bench.namespace)
    assert {item.uid for item in listing.objects} == made
    newest = max(int(item.resource_version) for item in listing.objects)
    assert int(listing.resource_version) >= newest
    assert await cluster.listing("Service", bench.namespace)


async def test_an_empty_list_is_empty(cluster: Cluster, bench: Bench) -> None:
    assert (await cluster.listing("TrainingJob", bench.namespace)).objects == ()


async def test_an_event_is_recorded_once_a_version(cluster: Cluster, bench: Bench) -> None:
    meta = read.meta(bench.submit("mine"))
    event = Event("Warning", "UserCodeError", "rank 1: KeyError. " + "ü" * 2000)
    await cluster.record("TrainingJob", meta, event, NOW)
    with pytest.raises(AlreadyExists):
        await cluster.record("TrainingJob", meta, event, NOW + 1)
    (found,) = [
        it for it in bench.kube.list("Event", bench.namespace) if it["involvedObject"].get("uid") == meta.uid
    ]
    assert (found["type"], found["reason"], found["source"]) == (
        "Warning",
        "UserCodeError",
        {"component": "mlpools"},
    )
    assert found["message"].startswith("rank 1: KeyError. ü")


async def test_an_event_about_a_pool_has_a_place(cluster: Cluster, bench: Bench) -> None:
    meta = read.meta(bench.kube.get("ComputePool", bench.pool))
    await cluster.record("ComputePool", meta, Event("Normal", "Seen", "It is there."), NOW)
    found = [it for it in bench.kube.list("Event", "default") if it["involvedObject"].get("uid") == meta.uid]
    assert [it["message"] for it in found] == ["It is there."]


async def test_the_operators_account_may_do_nothing_else(cluster: Cluster, bench: Bench) -> None:
    transport = cluster._transport
    for verb, path in (
        ("get", f"/api/v1/namespaces/{bench.namespace}/secrets/any"),
        ("list", f"/api/v1/namespaces/{bench.namespace}/secrets"),
        ("create", f"/api/v1/namespaces/{bench.namespace}/pods"),
        ("delete", f"/api/v1/namespaces/{bench.namespace}/pods/any"),
        ("update", f"/apis/mlpools.dev/v1alpha1/namespaces/{bench.namespace}/trainingjobs/any"),
        ("delete", "/apis/mlpools.dev/v1alpha1/computepools/any"),
        ("list", "/api/v1/nodes"),
    ):
        body = None if verb in ("get", "list") else {}
        with pytest.raises(Refused, match="cannot"):
            await transport.send(Request(verb, "any", path, body=body))


async def test_both_kinds_are_served(cluster: Cluster) -> None:
    assert await cluster.unknown_kinds() == set()
    await cluster.ping()


async def test_no_answer_is_transient_and_told_in_one_line(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = bench.kube.server
    nowhere = tmp_path / "nowhere"
    nowhere.write_text(bench.kubeconfig.read_text().replace(server, "https://127.0.0.1:1"))
    monkeypatch.setenv("KUBECONFIG", str(nowhere))
    transport = Transport(Metrics(), threads=1)
    with pytest.raises(Transient, match="did not answer get /version") as error:
        await Cluster(transport).ping()
    assert "\n" not in str(error.value)
    transport.close()


def test_no_cluster_at_all_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConnectError, match="set KUBECONFIG") as error:
        credentials()
    assert "\n" not in str(error.value)
