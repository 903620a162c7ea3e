"""What pods find out about their network: from their words to the pool's condition, and to what follows."""

from __future__ import annotations

import json
import time

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools_operator.domain.times import seconds
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.rank_0 import rank_0
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

GOOD = "The slowest link, from rank 0 to rank 1, carries 9.00 GB/s over TCP."
BAD = "The network between the ranks is too slow: the slowest link carries 0.01 GB/s over TCP."
RULES = {"enabled": True, "minBusBandwidthGBs": 0.5, "timeoutSeconds": 30}


def found(bench: Bench, status: str) -> Object:
    """Wait until the pool says that its network is, or is not, good enough, and return the condition."""

    def look() -> Object | None:
        conditions = bench.kube.get("ComputePool", bench.pool).get("status", {}).get("conditions", ())
        hits: list[Object] = [it for it in conditions if it["type"] == "FabricVerified"]
        return next((it for it in hits if it["status"] == status), None)

    return wait_for(f"FabricVerified={status}", look)


def measure(bench: Bench, name: str) -> None:
    """Run a job whose network is good to its end."""
    bench.submit(name)
    pods = bench.kubelet.pods(name, 1, 2)
    with rank_0() as report:
        report.value = Report("Training", fabric=GOOD)
        bench.kubelet.run(pods, report.address)
        told = found(bench, "True")
    assert (told["reason"], told["message"]) == ("Measured", GOOD)
    check = bench.job(name)["status"]["fabric"]
    assert (check["attempt"], check["verified"], check["message"]) == (1, True, GOOD)
    bench.kubelet.finish(pods, succeeded())
    bench.phase(name, "Succeeded")


def fail(bench: Bench, name: str, attempt: int) -> list[Object]:
    """End an attempt because its network is too slow: the rank at fault says so, the other one gives up."""
    pods = bench.kubelet.pods(name, attempt, 2)
    bench.kubelet.run(pods)
    bench.kubelet.finish(pods[:1], Final(Exit.PEER_LOST, rank=0, message=BAD), Exit.PEER_LOST)
    slow = Final(Exit.FABRIC_TOO_SLOW, rank=1, attempt=attempt, message=BAD)
    bench.kubelet.finish(pods[1:], slow, Exit.FABRIC_TOO_SLOW)
    return pods


def test_what_jobs_measure_is_told_by_their_pool(bench: Bench) -> None:
    bench.kube.patch("ComputePool", bench.pool, {"spec": {"preflight": RULES}})
    bench.operator(progress_seconds="0.5", probe_seconds="0.1").wait_ready()
    measure(bench, "fast")
    (main,) = bench.kube.list("Pod", bench.namespace)[0]["spec"]["containers"]
    (task,) = [it["value"] for it in main["env"] if it["name"] == "MLPOOLS_TASK"]
    assert json.loads(task)["fabric"] == {"minimum": 0.5, "timeoutSeconds": 30, "gpus": 0}

    bench.submit("slow", maxRestarts=1)
    fail(bench, "slow", 1)
    status = bench.phase("slow", "Restarting")["status"]
    assert (status["reason"], status["restarts"]) == ("FabricTooSlow", 1)
    told = found(bench, "False")
    assert (told["reason"], told["message"]) == ("FabricTooSlow", status["fabric"]["message"])
    assert BAD in told["message"]
    pods = fail(bench, "slow", 2)
    failed = bench.phase("slow", "Failed")["status"]
    assert failed["reason"] == "RestartsExhausted"
    (sentence,) = [it["message"] for it in failed["conditions"] if it["type"] == "Failed"]
    assert sentence.startswith(
        f"FabricTooSlow: rank 1 (pod {pods[1]['metadata']['name']} on node-1): {BAD[:-1]}"
    )

    wait_for("the next second", lambda: time.time() >= seconds(failed["fabric"]["time"]) + 1)
    measure(bench, "mended")


def test_a_job_that_fails_for_good_is_heard_too(bench: Bench) -> None:
    """It is gone from the queue at the moment in which it has something to say."""
    bench.kube.patch("ComputePool", bench.pool, {"spec": {"preflight": RULES}})
    bench.operator().wait_ready()
    bench.submit("slow", maxRestarts=0)
    fail(bench, "slow", 1)
    bench.phase("slow", "Failed")
    assert BAD in found(bench, "False")["message"]
