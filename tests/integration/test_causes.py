"""What ended an attempt, as pods of a real API server tell it, and what follows for the job."""

from __future__ import annotations

import pytest

from mlpools.contract import Exit, Final
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
    status = bench.phase("flights", "Restarting", "Starting", "Queued", seconds=40)["status"]
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
    status = bench.phase("flights", "Failed", seconds=30)["status"]
    assert (status["reason"], status["attempt"], status["restarts"]) == ("OutOfMemory", 1, 0)
    message = failed(bench, "Failed")["message"]
    assert message.startswith(f"Rank 1 (pod {pods[1]['metadata']['name']} on node-1): it ran out of memory")
    assert "at the limit of 4Gi" in message
    assert "use more nodes, or a pool with more memory per node" in message
