"""What ended an attempt, as pods of a real API server tell it, and what follows for the job."""

from __future__ import annotations

import pytest

from mlpools.contract.ends import Exit, Final
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded

pytestmark = pytest.mark.integration

KILLED = 137
SAVED = Final(Exit.PREEMPTED, rank=0, step=40, checkpoint_step=40)


def run(bench: Bench, attempt: int = 1) -> list[Object]:
    pods = bench.kubelet.pods("flights", attempt, 2)
    bench.kubelet.run(pods)
    bench.phase("flights", "Running")
    return pods


def path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def evict(bench: Bench, pod: Object) -> None:
    """Evict a pod, as `kubectl drain` does."""
    about = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about}
    bench.kube.request("POST", f"{path(pod)}/eviction", eviction)


def disrupt(bench: Bench, pod: Object, reason: str) -> None:
    """Delete a pod for a reason, as the scheduler and the taint manager do."""
    name = pod["metadata"]["name"]
    present = bench.kube.get("Pod", name, bench.namespace)["status"]["conditions"]
    target = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": ""}
    target["lastTransitionTime"] = present[0]["lastTransitionTime"]
    bench.kube.patch("Pod", name, {"status": {"conditions": [*present, target]}}, bench.namespace, "status")
    bench.kube.delete("Pod", name, bench.namespace)


def failed(bench: Bench, name: str) -> Object:
    condition: Object = next(it for it in bench.job("flights")["status"]["conditions"] if it["type"] == name)
    return condition


@pytest.mark.parametrize(
    ("how", "reason", "words"),
    [
        ("drain", "Preempted", "evicted from node-1: the machine was drained"),
        ("PreemptionByScheduler", "Preempted", "a pod of higher priority needed the place"),
        ("DeletionByTaintManager", "NodeLost", "node-1 was lost (not ready, not reachable or removed)"),
    ],
)
def test_what_the_cluster_takes_away_costs_no_restart(
    bench: Bench, how: str, reason: str, words: str
) -> None:
    bench.operator().wait_ready()
    bench.submit("flights", maxRestarts=0)
    first, second = run(bench)
    if how == "drain":
        evict(bench, second)
    else:
        disrupt(bench, second, how)

    if how != "DeletionByTaintManager":  # else nobody is there to tell
        bench.kubelet.finish([second], SAVED, Exit.PREEMPTED)
    bench.kubelet.finish([first], SAVED, Exit.PREEMPTED)
    status = bench.phase("flights", "Restarting", "Starting", "Queued")["status"]
    told = status["nodes"]["failed"][0]
    assert (told["reason"], told["rank"], told["pod"]) == (reason, 1, second["metadata"]["name"])
    assert words in told["message"]
    bench.kubelet.collect()
    pods = run(bench, attempt=2)
    bench.kubelet.finish(pods, succeeded())
    done = bench.phase("flights", "Succeeded")["status"]
    assert (done["attempt"], done["restarts"]) == (2, 0), "with maxRestarts 0 a counted one would be the end"


def test_a_rank_out_of_memory_ends_the_job_and_its_limit_is_told(bench: Bench) -> None:
    """The kernel kills one rank; the other one tells that it lost a peer, and does so first."""
    bench.operator().wait_ready()
    bench.submit("flights")
    pods = run(bench)
    bench.kubelet.finish(pods[:1], Final(Exit.PEER_LOST, rank=0, message="lost rank 1"), Exit.PEER_LOST)
    bench.kubelet.finish(pods[1:], code=KILLED, reason="OOMKilled")
    status = bench.phase("flights", "Failed")["status"]
    assert (status["reason"], status["attempt"], status["restarts"]) == ("OutOfMemory", 1, 0)
    message = failed(bench, "Failed")["message"]
    assert message.startswith(f"Rank 1 (pod {pods[1]['metadata']['name']} on node-1): it ran out of memory")
    assert "at the limit of 4Gi" in message
    assert "use more nodes, or a pool with more memory per node" in message


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (
            {
                "phase": "Failed",
                "reason": "Evicted",
                "message": "Pod ephemeral local storage usage exceeds 1Gi.",
            },
            "OutOfDisk",
            "it was evicted from node-1: Pod ephemeral local storage usage exceeds 1Gi",
        ),
        (None, "WorkerCrashed", "its main process was killed by SIGKILL"),
    ],
)
def test_what_a_pod_dies_of_without_a_word_counts_as_a_restart(
    bench: Bench, status: Object | None, reason: str, words: str
) -> None:
    bench.operator().wait_ready()
    bench.submit("flights", restartBackoffSeconds=300)
    first, second = run(bench)
    if status is None:
        bench.kubelet.finish([second], code=KILLED)
    else:
        bench.kube.patch("Pod", second["metadata"]["name"], {"status": status}, bench.namespace, "status")
    bench.kubelet.finish([first], SAVED, Exit.PREEMPTED)
    told = bench.phase("flights", "Restarting")["status"]
    assert (told["reason"], told["restarts"]) == (reason, 1)
    cause = told["nodes"]["failed"][0]
    assert (cause["rank"], cause["reason"]) == (1, reason)
    assert words in cause["message"]


@pytest.mark.parametrize(
    ("name", "words", "reason", "told"),
    [
        (
            "mount",
            "no such share",
            "InitContainerFailed",
            "its init container 'mount' ended with exit code 11: no",
        ),
        (
            "mlpools",
            Final(Exit.INVALID_SPEC, rank=1, message="The pool's image has no dulwich.").to_json(),
            "InvalidSpec",
            "The pool's image has no dulwich.",
        ),
    ],
)
def test_an_init_container_that_fails_is_told_with_its_last_words(
    bench: Bench, name: str, words: str, reason: str, told: str
) -> None:
    bench.operator().wait_ready()
    bench.submit("flights", maxRestarts=0, runtime={"image": "registry.test/own:1"})
    _, second = bench.kubelet.pods("flights", 1, 2)
    bench.kubelet.fail_init(second, name, Exit.INVALID_SPEC, words)
    status = bench.phase("flights", "Failed")["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)
    message = failed(bench, "Failed")["message"]
    assert f"Rank 1 (pod {second['metadata']['name']} on node-1): {told}" in message.replace(
        f"{reason}: r", "R"
    )
    assert status["nodes"]["failed"][0]["reason"] == reason
