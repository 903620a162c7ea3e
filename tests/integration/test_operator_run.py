"""A good job from its creation to its end: what it costs, what it leaves behind, and what a person sees."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from mlpools.contract.reports import Report
from tests.support.bench import Bench
from tests.support.kubelet import succeeded
from tests.support.manifests import manifest
from tests.support.rank_0 import rank_0
from tests.support.waiting import wait_for
from tools.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.integration

ACCOUNT = "system:serviceaccount:mlpools-system:"


def play(bench: Bench, name: str, nodes: int = 2) -> None:
    """Be the kubelet of a job that goes well."""
    pods = bench.kubelet.pods(name, 1, nodes)
    bench.kubelet.run(pods)
    bench.phase(name, "Running")
    bench.kubelet.finish(pods, succeeded())
    bench.phase(name, "Succeeded")


def test_a_good_job_costs_few_requests(bench: Bench, control_plane: ControlPlane) -> None:
    # On a busy machine the job could run for long enough to have its progress written.
    operator = bench.operator(progress_seconds="600").wait_ready()
    bench.submit("good")
    play(bench, "good")
    status = bench.job("good")["status"]
    assert (status["attempt"], status["restarts"], status["metrics"]) == (1, 0, {"eval-rmse": 17.9})
    wait_for("Event", lambda: [it for it in bench.kube.list("Event", bench.namespace) if _ours(it)])

    audited = wait_for("audit records", lambda: audit(control_plane, bench.namespace, writes=7))
    assert audited == {
        ("update", "trainingjobs/status"): 3,
        ("patch", "services"): 1,
        ("patch", "networkpolicies"): 1,
        ("create", "jobs"): 1,
        ("create", "events"): 1,
    }
    counted = operator.requests()
    for (verb, resource), number in audited.items():
        own = sum(n for (v, r, _), n in counted.items() if (v, r) == (verb, resource))
        assert own == number, f"The operator counted {own} times {verb} {resource}."
    assert operator.stop() == 0


def test_users_objects_carry_nothing_of_ours(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.submit("clean")
    play(bench, "clean")
    for found in (bench.job("clean"), bench.kube.get("ComputePool", bench.pool)):
        assert "annotations" not in found["metadata"]
        assert "finalizers" not in found["metadata"]
        assert "labels" not in found["metadata"]
        ours = [it for it in found["metadata"]["managedFields"] if it["manager"] == "mlpools"]
        assert [it.get("subresource") for it in ours] == ["status"], "Nobody but its user writes a spec."


def test_a_pool_tells_who_holds_it(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.submit("first", nodes=3)
    bench.phase("first", "Starting")
    bench.submit("second", nodes=2)
    waiting = bench.phase("second", "Queued")["status"]
    assert waiting["queue"]["reason"] == "WaitingForNodes"
    assert "first" in waiting["queue"]["message"]

    def pool() -> bool:
        status = bench.kube.get("ComputePool", bench.pool).get("status", {})
        return (status.get("jobs"), status.get("queued"), status["nodes"]["active"]) == (1, 1, 3)

    wait_for("status of the pool", pool)
    play(bench, "first", nodes=3)
    bench.phase("second", "Starting")


def test_a_job_may_come_before_its_pool(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.kube.delete("ComputePool", bench.pool)
    bench.submit("early")
    assert bench.phase("early", "Queued")["status"]["queue"]["reason"] == "PoolNotFound"
    bench.kube.create(manifest("ComputePool", bench.pool))
    play(bench, "early")


def test_progress_of_a_running_job_is_shown(bench: Bench) -> None:
    operator = bench.operator(progress_seconds="0.5", probe_seconds="0.1").wait_ready()
    bench.submit("slow")
    pods = bench.kubelet.pods("slow", 1, 2)
    with rank_0() as report:
        bench.kubelet.run(pods, report.address)
        seen = []
        for step in (1, 5, 9):
            report.value = Report("Working", step=step, total_steps=10, metrics={"eval-rmse": 20.0 - step})

            def shown(step: int = step) -> bool:
                progress = bench.job("slow")["status"].get("progress", {})
                return bool(progress.get("step") == step)

            wait_for(f"progress at step {step}", shown)
            seen.append(bench.job("slow")["status"]["progress"]["percent"])
        assert seen == [10.0, 50.0, 90.0]
    bench.kubelet.finish(pods, succeeded())
    bench.phase("slow", "Succeeded")
    status_writes = sum(n for (v, r, _), n in operator.requests().items() if r == "trainingjobs/status")
    assert status_writes <= 3 + 3


def test_a_stopped_operator_goes_on_where_it_was(bench: Bench) -> None:
    first = bench.operator().wait_ready()
    bench.submit("kept")
    pods = bench.kubelet.pods("kept", 1, 2)
    bench.kubelet.run(pods)
    bench.phase("kept", "Running")
    wait_for("status of the pool", lambda: bench.kube.get("ComputePool", bench.pool)["status"]["jobs"] == 1)
    before = bench.job("kept")["metadata"]["resourceVersion"]
    assert first.stop() == 0
    second = bench.operator().wait_ready()
    wait_for("idle operator", lambda: "mlpools_queue_depth 0.0" in second.get("/metrics")[1])
    assert bench.job("kept")["metadata"]["resourceVersion"] == before
    verbs = {verb for verb, _, _ in second.requests()}
    assert verbs == {"get", "list"}, "Nothing had changed, so there was nothing to write."
    bench.kubelet.finish(pods, succeeded())
    bench.phase("kept", "Succeeded")


def test_an_upgrade_leaves_the_running_job_alone(bench: Bench) -> None:
    first = bench.operator(operator_labels="app=old", runtime_image="example.test/runtime:1").wait_ready()
    bench.submit("long")
    pods = bench.kubelet.pods("long", 1, 2)
    bench.kubelet.run(pods)
    bench.phase("long", "Running")
    job = bench.kube.list("Job", bench.namespace)[0]
    policy = bench.kube.list("NetworkPolicy", bench.namespace)[0]
    assert first.stop() == 0

    bench.operator(operator_labels="app=new", runtime_image="example.test/runtime:2").wait_ready()

    def applied() -> bool:
        now = bench.kube.list("NetworkPolicy", bench.namespace)[0]
        assert now["metadata"]["uid"] == policy["metadata"]["uid"]
        return "new" in json.dumps(now["spec"]) and "old" not in json.dumps(now["spec"])

    wait_for("policy of the new release", applied)
    now = bench.kube.list("Job", bench.namespace)[0]
    assert now["metadata"]["uid"] == job["metadata"]["uid"]
    assert now["spec"] == job["spec"]
    bench.kubelet.finish(pods, succeeded())
    status = bench.phase("long", "Succeeded")["status"]
    assert status["attempt"] == 1


def test_figures_are_there_to_scrape(bench: Bench) -> None:
    operator = bench.operator().wait_ready()
    bench.submit("seen", nodes=3)
    bench.kubelet.pods("seen", 1, 3)
    held = f'mlpools_pool_nodes{{pool="{bench.pool}",what="held"}} 3.0'
    wait_for("figures of the pool", lambda: held in operator.get("/metrics")[1])
    assert operator.get("/healthz") == (200, "ok\n")


def audit(control_plane: ControlPlane, namespace: str, writes: int) -> Counter[tuple[str, str]] | None:
    """Return what the operator wrote in a namespace by the API server's own records, once there is enough."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in Path(control_plane.audit_log).read_text().splitlines():
        record = json.loads(line)
        about = record.get("objectRef", {})
        if not record["user"]["username"].startswith(ACCOUNT) or about.get("namespace") != namespace:
            continue
        if record["verb"] not in ("get", "list", "watch"):
            resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
            counts[record["verb"], resource] += 1
    return counts if counts.total() >= writes else None


def _ours(event: dict[str, object]) -> bool:
    involved = event["involvedObject"]
    assert isinstance(involved, dict)
    return bool(involved["kind"] == "TrainingJob")
