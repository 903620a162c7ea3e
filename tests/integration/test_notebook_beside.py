"""A notebook whose image starts its own program, before a real API server that takes restricted pods only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Activity
from mlpools_operator.domain import times
from mlpools_operator.domain.notebook import beside
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.manifests import manifest
from tests.support.rank_0 import Rank0, rank_0
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

RESTRICTED = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
OWN: dict[str, Any] = {"runtime": {"image": "registry/ml/rstudio:1"}}


@pytest.fixture
def pod() -> Iterator[Rank0]:
    with rank_0() as answering:
        answering.value = seen(0.0)
        yield answering


@pytest.fixture
def notebooks(bench: Bench) -> Bench:
    bench.kube.patch("Namespace", bench.namespace, RESTRICTED)
    return bench.of("NotebookRuntime")


def seen(unused: float) -> Activity:
    return Activity(attempt=1, serving=True, unused_seconds=unused, untouched_seconds=unused, gpu_unseen=True)


def submit(bench: Bench, **fields: Any) -> Object:
    """Make a notebook with an image of its own, and return its pod."""
    spec = {"computePool": bench.pool, **OWN, **fields}
    bench.kube.create(manifest("NotebookRuntime", "alice", spec), bench.namespace)
    (made,) = bench.kubelet.pods("alice", 1, 1)
    return made


def test_it_is_watched_from_a_sidecar_and_stops_when_nobody_uses_it(notebooks: Bench, pod: Rank0) -> None:
    bench = notebooks
    operator = bench.operator().wait_ready()
    made = submit(bench, idleSeconds=3600)
    (sidecar,) = made["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == (beside.NAME, "Always")
    assert made["spec"]["shareProcessNamespace"]
    assert {it["mountPath"] for it in sidecar["volumeMounts"]} == {"/workspace", beside.API_TOKEN}
    bench.kubelet.run([made], pod.address)
    bench.phase("alice", "Running")
    wait_for("word of the GPU", lambda: "GpuUseUnknown" in str(bench.job("alice")["status"]["conditions"]))
    operator.kill()
    _let_time_pass(bench)
    pod.value = seen(7200.0)
    bench.operator().wait_ready()

    def stopped() -> bool:
        bench.kubelet.terminate(Final(Exit.PREEMPTED, rank=0))
        return bool(bench.job("alice")["status"]["phase"] == "Stopped")

    wait_for("a stopped notebook", stopped)
    assert bench.job("alice")["status"]["reason"] == "Idle"


def test_a_workspace_that_cannot_be_written_is_told_before_the_program_starts(notebooks: Bench) -> None:
    bench = notebooks
    bench.operator().wait_ready()
    made = submit(bench)
    words = Final(Exit.OUTPUT_NOT_WRITABLE, 0, 1, message="The workspace cannot be written by user 1000.")
    bench.kubelet.crash_init(made, beside.NAME, int(words.code), words.to_json())
    wait_for(
        "the reason", lambda: bench.job("alice").get("status", {}).get("reason") == "WorkspaceNotWritable"
    )


def _let_time_pass(bench: Bench) -> None:
    """Make it one that began to serve long ago, while no operator looks."""
    before = times.stamp(time.time() - 7200.0)
    status = bench.job("alice")["status"]
    conditions = [{**it, "lastTransitionTime": before} for it in status["conditions"]]
    changed = {"conditions": conditions, "lastActivityTime": before}
    bench.kube.patch("NotebookRuntime", "alice", {"status": changed}, bench.namespace, "status")
