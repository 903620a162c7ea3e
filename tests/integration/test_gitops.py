"""A GitOps tool that applies its manifests again and again: no diff, no conflict, nothing starts or stops."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.kube import Object
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
        job = manifest(bench.kind, self.name, self.spec)
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


def test_the_same_manifest_again_and_again_changes_nothing_in_any_phase(either: Bench) -> None:
    either.kube.delete("ComputePool", either.pool)
    tool = Tool(either, "kept")
    tool.sync()
    either.operator().wait_ready()
    either.phase("kept", "Starting")
    pods = either.kubelet.pods("kept", 1, 2)
    tool.sync_many()
    either.kubelet.run(pods)
    either.phase("kept", "Running")
    tool.sync_many()

    tool.spec["suspend"] = True
    tool.sync()
    wait_for("pods that are told to end", lambda: either.kubelet.there("kept", 1) == [])
    tool.sync_many()
    either.kubelet.collect()
    either.phase("kept", "Suspended")
    tool.sync_many()

    holder = either.of("TrainingJob")
    holder.submit("holder", nodes=4)
    holder.phase("holder", "Starting")
    tool.spec["suspend"] = False
    tool.sync()
    either.phase("kept", "Queued")
    tool.sync_many()
    holder.change("holder", cancel=True)
    wait_for("pods of the other", lambda: either.kubelet.there("holder", 1) == [])
    either.kubelet.collect()
    pods = either.kubelet.pods("kept", 2, 2)
    either.kubelet.run(pods)
    either.phase("kept", "Running")
    either.kubelet.finish(pods, either.done())
    status = either.phase("kept", "Succeeded")["status"]
    tool.sync_many()
    assert (status["attempt"], status["restarts"]) == (2, 0)


def test_what_the_operator_owns_is_the_status_alone(either: Bench) -> None:
    tool = Tool(either, "owned")
    either.kube.delete("ComputePool", either.pool)
    tool.sync()
    either.operator().wait_ready()
    either.phase("owned", "Starting")
    for found in (either.job("owned"), either.kube.get("ComputePool", either.pool)):
        owners = {(it["manager"], it.get("subresource", "")) for it in found["metadata"]["managedFields"]}
        assert owners == {("gitops", ""), ("mlpools", "status")}


def test_a_hand_made_cancel_that_git_does_not_name_stays(either: Bench) -> None:
    tool = Tool(either, "stopped")
    either.kube.delete("ComputePool", either.pool)
    tool.sync()
    either.operator().wait_ready()
    either.phase("stopped", "Starting")
    either.kubelet.pods("stopped", 1, 2)
    either.kube.patch(either.kind, "stopped", {"spec": {"cancel": True}}, either.namespace)
    tool.sync()

    def cancelled() -> bool:
        either.kubelet.collect()
        return bool(either.job("stopped")["status"]["phase"] == "Cancelled")

    wait_for("end of the job", cancelled)
    tool.sync_many()
