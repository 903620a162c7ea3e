"""A GitOps tool that applies its manifests again and again: no diff, no conflict, nothing starts or stops."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.manifests import manifest
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

TIMES = 5


class Tool:
    """Keeps one job, and the bench's pool, as its manifests say."""

    def __init__(self, bench: Bench, name: str, **spec: Any) -> None:
        self.bench, self.name = bench, name
        self.spec = {"computePool": bench.pool, "nodes": 2, "restartBackoffSeconds": 1, **spec}
        self.pool = manifest("ComputePool", bench.pool, {"maxNodes": 4})

    def sync(self) -> Object:
        """Apply the manifests; a conflict would raise."""
        bench = self.bench
        job = manifest("TrainingJob", self.name, self.spec)
        bench.kube.apply(self.pool, manager="gitops", force=False)
        return bench.kube.apply(job, bench.namespace, manager="gitops", force=False)

    def sync_many(self) -> None:
        """Apply them several times; nothing may come of it."""
        bench = self.bench
        before, jobs, pods = bench.job(self.name), self.uids("Job"), self.uids("Pod")
        for _ in range(TIMES):
            after = self.sync()
            assert after["metadata"]["generation"] == before["metadata"]["generation"], "There was a diff."
            assert after["spec"] == before["spec"]
        assert (self.uids("Job"), self.uids("Pod")) == (jobs, pods)
        assert bench.job(self.name)["status"]["phase"] == before["status"]["phase"]

    def uids(self, kind: str) -> set[str]:
        return {item["metadata"]["uid"] for item in self.bench.kube.list(kind, self.bench.namespace)}


def test_the_same_manifest_again_and_again_changes_nothing_in_any_phase(bench: Bench) -> None:
    bench.kube.delete("ComputePool", bench.pool)
    tool = Tool(bench, "kept")
    tool.sync()
    bench.operator().wait_ready()
    bench.phase("kept", "Starting")
    pods = bench.kubelet.pods("kept", 1, 2)
    tool.sync_many()
    bench.kubelet.run(pods)
    bench.phase("kept", "Running")
    tool.sync_many()

    tool.spec["suspend"] = True
    tool.sync()
    wait_for("pods that are told to end", lambda: bench.kubelet.there("kept", 1) == [])
    tool.sync_many()
    bench.kubelet.collect()
    bench.phase("kept", "Suspended")
    tool.sync_many()

    bench.submit("holder", nodes=4)
    bench.phase("holder", "Starting")
    tool.spec["suspend"] = False
    tool.sync()
    bench.phase("kept", "Queued")
    tool.sync_many()
    bench.kube.patch("TrainingJob", "holder", {"spec": {"cancel": True}}, bench.namespace)
    wait_for("pods of the other", lambda: bench.kubelet.there("holder", 1) == [])
    bench.kubelet.collect()
    pods = bench.kubelet.pods("kept", 2, 2)
    bench.kubelet.run(pods)
    bench.phase("kept", "Running")
    bench.kubelet.finish(pods, succeeded())
    status = bench.phase("kept", "Succeeded")["status"]
    tool.sync_many()
    assert (status["attempt"], status["restarts"]) == (2, 0)


def test_what_the_operator_owns_is_the_status_alone(bench: Bench) -> None:
    tool = Tool(bench, "owned")
    bench.kube.delete("ComputePool", bench.pool)
    tool.sync()
    bench.operator().wait_ready()
    bench.phase("owned", "Starting")
    for found in (bench.job("owned"), bench.kube.get("ComputePool", bench.pool)):
        owners = {(it["manager"], it.get("subresource", "")) for it in found["metadata"]["managedFields"]}
        assert owners == {("gitops", ""), ("mlpools", "status")}


def test_a_hand_made_cancel_that_git_does_not_name_stays(bench: Bench) -> None:
    tool = Tool(bench, "stopped")
    bench.kube.delete("ComputePool", bench.pool)
    tool.sync()
    bench.operator().wait_ready()
    bench.phase("stopped", "Starting")
    bench.kubelet.pods("stopped", 1, 2)
    bench.kube.patch("TrainingJob", "stopped", {"spec": {"cancel": True}}, bench.namespace)
    tool.sync()

    def cancelled() -> bool:
        bench.kubelet.collect()
        return bool(bench.job("stopped")["status"]["phase"] == "Cancelled")

    wait_for("end of the job", cancelled, 40)
    tool.sync_many()
