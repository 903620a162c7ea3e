from __future__ import annotations

import pytest

from mlpools_operator.controller import read
from mlpools_operator.domain.observed import JobChild, PodChild, Resource
from tests.support import objects as make

TEN = 1795341600.0  # 2026-11-22T10:00:00Z


def pod(**status: object) -> PodChild:
    entry = read.entry("Pod", make.pod("p", **status))  # type: ignore[arg-type]
    assert isinstance(entry, PodChild)
    return entry


def job(status: dict[str, object]) -> JobChild:
    entry = read.entry("Job", make.child_job("j", nodes=2, status=status))
    assert isinstance(entry, JobChild)
    return entry


def test_of_labels_and_annotations_only_ours_are_kept() -> None:
    raw = make.job(
        labels={"team": "a", "mlpools.dev/x": "1"},
        annotations={
            "kubectl.kubernetes.io/last-applied-configuration": "long",
            "mlpools.dev/spec-hash": "h",
        },
        managedFields=[{}],
        generation=3,
    )
    meta = read.meta(raw)
    assert dict(meta.labels) == {"mlpools.dev/x": "1"}
    assert dict(meta.annotations) == {"mlpools.dev/spec-hash": "h"}
    assert (meta.spec_hash, meta.generation, meta.created, meta.deleting) == ("h", 3, TEN, False)


def test_a_deletion_timestamp_is_seen() -> None:
    assert read.meta(make.job(deletionTimestamp=make.CREATED)).deleting


def test_only_a_controlling_owner_is_an_owner() -> None:
    references = [{"uid": "x", "kind": "Y", "name": "y"}, {"uid": "z", "controller": True}]
    assert read.meta(make.job(ownerReferences=references)).owner == "z"
    assert read.meta(make.job(ownerReferences=references[:1])).owner == ""


def test_a_resource_without_status_has_an_empty_one() -> None:
    raw = make.job()
    del raw["status"]
    entry = read.entry("TrainingJob", raw)
    assert isinstance(entry, Resource)
    assert entry.status == {}


def test_a_pod_that_was_just_made() -> None:
    found = pod()
    assert (found.phase, found.node, found.ip, found.exit_code, found.started) == (
        "Pending",
        "",
        "",
        None,
        0.0,
    )
    assert (found.job, found.rank, found.attempt, found.memory_limit) == ("child", 0, 1, "4Gi")


def test_a_pod_without_a_machine_says_so() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    found = pod(conditions=[condition])
    assert (found.unschedulable, found.scheduled) == ("0/2 nodes", 0.0)


def test_a_running_pod() -> None:
    found = pod(
        phase="Running",
        podIP="10.1.0.2",
        conditions=[
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": make.CREATED},
            {"type": "Ready", "status": "True"},
        ],
        containerStatuses=[
            {"name": "sidecar", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            {"name": "main", "state": {"running": {"startedAt": make.CREATED}}},
        ],
    )
    assert (found.ip, found.ready, found.waiting) == ("10.1.0.2", True, "")
    assert (found.scheduled, found.started) == (TEN, TEN)


def test_a_pod_that_cannot_start() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    found = pod(containerStatuses=[{"name": "main", "state": {"waiting": waiting}}])
    assert (found.waiting, found.waiting_message) == ("ImagePullBackOff", "no such image")


def initialising(*states: tuple[str, dict[str, object]], phase: str = "Pending") -> PodChild:
    """Return a pod whose main container waits for its init containers; ``logs`` runs beside it."""
    raw = make.pod(
        "p",
        phase=phase,
        initContainerStatuses=[{"name": name, "state": state} for name, state in states],
        containerStatuses=[{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}],
    )
    limits = {"limits": {"memory": "64Mi"}}
    raw["spec"]["initContainers"] = [
        {"name": "logs", "restartPolicy": "Always"},
        {"name": "mount", "resources": limits},
        {"name": "check"},
    ]
    entry = read.entry("Pod", raw)
    assert isinstance(entry, PodChild)
    return entry


RUNS: dict[str, object] = {"running": {"startedAt": make.CREATED}}
DONE: dict[str, object] = {"terminated": {"exitCode": 0, "finishedAt": make.CREATED}}
LATER: dict[str, object] = {"waiting": {"reason": "PodInitializing"}}


def test_an_init_container_that_is_in_the_way_speaks_for_its_pod() -> None:
    waits: dict[str, object] = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    found = initialising(("logs", RUNS), ("mount", DONE), ("check", waits))
    assert (found.init_container, found.waiting, found.started) == ("check", "ImagePullBackOff", 0.0)
    assert initialising(("logs", waits), ("mount", LATER), ("check", LATER)).init_container == "logs"
    assert initialising(("logs", RUNS), ("mount", RUNS), ("check", LATER)).init_container == "mount"
    assert initialising(("logs", RUNS), ("mount", DONE), ("check", DONE)).init_container == ""


def test_an_init_container_that_failed() -> None:
    terminated = {"exitCode": 3, "reason": "Error", "message": "no mount", "finishedAt": make.CREATED}
    killed: dict[str, object] = {"terminated": {"exitCode": 143, "finishedAt": make.CREATED}}
    states = (("logs", killed), ("mount", {"terminated": terminated}), ("check", LATER))
    found = initialising(*states, phase="Failed")
    assert (found.init_container, found.exit_code, found.termination) == ("mount", 3, "no mount")
    assert (found.memory_limit, found.finished, found.started) == ("64Mi", TEN, 0.0)


def test_a_helper_that_ends_after_the_job_began_says_nothing_of_it() -> None:
    found = pod(
        initContainerStatuses=[{"name": "logs", "state": {"terminated": {"exitCode": 1}}}],
        containerStatuses=[{"name": "main", "state": RUNS}],
    )
    assert (found.init_container, found.exit_code, found.started) == ("", None, TEN)


def test_a_pod_that_failed() -> None:
    terminated = {
        "exitCode": 137,
        "reason": "OOMKilled",
        "message": "{}",
        "startedAt": make.CREATED,
        "finishedAt": make.CREATED,
    }
    found = pod(
        phase="Failed",
        reason="Evicted",
        message="node ran out",
        conditions=[
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
             "lastTransitionTime": make.CREATED},
        ],
        containerStatuses=[{"name": "main", "state": {"terminated": terminated}}],
    )  # fmt: skip
    assert (found.exit_code, found.exit_reason, found.termination) == (137, "OOMKilled", "{}")
    assert (found.finished, found.started) == (TEN, TEN)
    assert (found.disruption, found.disrupted, found.reason) == ("EvictionByEvictionAPI", TEN, "Evicted")
    assert found.terminal


def test_a_disruption_that_is_over_is_none() -> None:
    assert pod(conditions=[{"type": "DisruptionTarget", "status": "False", "reason": "x"}]).disruption == ""


def test_a_job_ends_when_its_controller_says_so() -> None:
    running = job({"active": 2, "ready": 1, "failed": 1})
    assert (running.parallelism, running.attempt, running.ended) == (2, 1, "")
    done = job({"succeeded": 2, "conditions": [{"type": "Complete", "status": "True"}]})
    assert done.ended == "Complete"


def test_a_job_that_is_about_to_fail_tells_why_and_has_not_ended() -> None:
    target = {"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy", "message": "code 10"}
    failing = job({"conditions": [target]})
    assert (failing.ended, failing.reason, failing.message) == ("", "PodFailurePolicy", "code 10")
    failed = job(
        {"conditions": [target, {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    )
    assert (failed.ended, failed.reason) == ("Failed", "BackoffLimitExceeded")


@pytest.mark.parametrize(("text", "ranks"), [("", ()), ("2", (2,)), ("1,3-5,8", (1, 3, 4, 5, 8))])
def test_a_job_says_which_ranks_it_has_given_up(text: str, ranks: tuple[int, ...]) -> None:
    seen = read.entry("Job", make.child_job("j", nodes=9, status={"failedIndexes": text}))
    assert isinstance(seen, JobChild)
    assert seen.given_up == set(ranks)


def test_a_job_says_what_machines_its_pods_ask_for() -> None:
    raw = make.child_job("j", nodes=2)
    limits = {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "9Gi", "nvidia.com/gpu": "1"}
    sidecar = {"name": "sidecar", "resources": {"requests": {"rdma/hca": "1"}}}
    containers = [{"name": "main", "resources": {"limits": limits}}, sidecar]
    raw["spec"]["template"] = {"spec": {"nodeSelector": {"zone": "x"}, "containers": containers}}
    seen = read.entry("Job", raw)
    assert isinstance(seen, JobChild)
    assert (seen.selector, seen.devices) == ({"zone": "x"}, {"nvidia.com/gpu", "rdma/hca"})


def test_labels_that_are_no_numbers_do_no_harm() -> None:
    raw = make.pod("p")
    raw["metadata"]["labels"]["mlpools.dev/attempt"] = "second"
    raw["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": ""}
    entry = read.entry("Pod", raw)
    assert isinstance(entry, PodChild)
    assert (entry.attempt, entry.rank) == (0, 0)
