"""What bounds a job's start, what is left after its end, and jobs that are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import rank_of, succeeded
from tests.support.manifests import manifest
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

PAUSED = "mlpools.dev/paused"


def condition(bench: Bench, name: str, kind: str) -> Object:
    found = (it for it in bench.job(name).get("status", {}).get("conditions", ()) if it["type"] == kind)
    return next(found, {})


def annotate(bench: Bench, name: str, value: str | None) -> None:
    change = {"metadata": {"annotations": {PAUSED: value}}}
    bench.kube.patch("TrainingJob", name, change, bench.namespace)


def finish(bench: Bench, name: str) -> None:
    pods = bench.kubelet.pods(name, 1, 2)
    bench.kubelet.run(pods)
    bench.phase(name, "Running")
    bench.kubelet.finish(pods, bench.done())


def left(bench: Bench) -> list[str]:
    bench.kubelet.collect()
    kinds = ("Job", "Service", "NetworkPolicy", "Pod")
    return [item["metadata"]["name"] for kind in kinds for item in bench.kube.list(kind, bench.namespace)]


def test_a_job_is_deleted_after_its_ttl(either: Bench) -> None:
    either.operator().wait_ready()
    either.submit("brief", ttlSecondsAfterFinished=1)
    finish(either, "brief")
    wait_for("end of the object", lambda: not either.kube.find(either.kind, "brief", either.namespace))
    # The garbage collector gets to know of a new kind within half a minute.
    wait_for("end of its children", lambda: left(either) == [])


def test_what_a_gitops_tool_tracks_stays_without_its_children(either: Bench) -> None:
    either.operator().wait_ready()
    wanted = {"computePool": either.pool, "nodes": 2, "ttlSecondsAfterFinished": 1}
    job = manifest(either.kind, "tracked", wanted)
    job["metadata"]["labels"] = {"kustomize.toolkit.fluxcd.io/name": "apps"}
    either.kube.create(job, either.namespace)
    finish(either, "tracked")
    wait_for("word that it stays", lambda: condition(either, "tracked", "Expired"))
    assert "Flux would make it again" in condition(either, "tracked", "Expired")["message"]
    wait_for("end of its children", lambda: left(either) == [])
    status = either.job("tracked")["status"]
    assert status["phase"] == "Succeeded"
    assert status.get("metrics", {"eval-rmse": 17.9}) == {"eval-rmse": 17.9}


def test_a_paused_job_is_left_alone_until_it_is_not(bench: Bench) -> None:
    operator = bench.operator().wait_ready()
    bench.submit("hands-off")
    pods = bench.kubelet.pods("hands-off", 1, 2)
    bench.kubelet.run(pods)
    bench.phase("hands-off", "Running")
    annotate(bench, "hands-off", "true")
    wait_for("word that it is paused", lambda: condition(bench, "hands-off", "Paused"))
    before = bench.job("hands-off")
    bench.kubelet.finish(pods, succeeded())
    bench.submit("other", suspend=True)
    bench.phase("other", "Suspended")  # so the operator has had its turns
    wait_for("idle operator", lambda: "mlpools_queue_depth 0.0" in operator.get("/metrics")[1])
    assert bench.job("hands-off") == before
    annotate(bench, "hands-off", None)
    status = bench.phase("hands-off", "Succeeded")["status"]
    assert "Paused" not in {it["type"] for it in status["conditions"]}


def test_a_container_that_does_not_start_in_time_ends_the_attempt(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.submit("stuck", startTimeoutSeconds=1, maxRestarts=0)
    bench.kubelet.place(bench.kubelet.pods("stuck", 1, 2))
    status = bench.phase("stuck", "Failed")["status"]
    assert status["reason"] == "RestartsExhausted"
    message = condition(bench, "stuck", "Failed")["message"]
    assert message.startswith("StartTimeout: rank 0 (pod stuck-1-0-")
    assert "did not start in 1 s (startTimeoutSeconds)" in message


def test_half_a_gang_that_a_quota_lets_through_frees_its_nodes(bench: Bench) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "one"},
        "spec": {"hard": {"pods": "1"}},
    }
    bench.kube.create(quota, bench.namespace)

    def enforced() -> Any:
        return bench.kube.get("ResourceQuota", "one", bench.namespace).get("status", {}).get("hard")

    wait_for("quota", enforced)
    bench.operator().wait_ready()
    bench.submit("half", nodes=2)
    status = bench.phase("half", "Queued")["status"]
    assert (status["reason"], status["restarts"]) == ("PodsRefused", 0)
    assert "exceeded quota: one" in condition(bench, "half", "Admitted")["message"]
    wait_for("free node", lambda: bench.kubelet.there("half", 1) == [])
    bench.kube.delete("ResourceQuota", "one", bench.namespace)
    bench.kubelet.collect()
    pods = bench.kubelet.pods("half", 2, 2)
    bench.kubelet.run(pods)
    bench.kubelet.finish(pods, succeeded())
    assert bench.phase("half", "Succeeded")["status"]["attempt"] == 2


def test_a_job_that_can_never_run_is_looked_at_once(bench: Bench, proxy: Proxy, through_proxy: Path) -> None:
    bench.operator(through_proxy).wait_ready()
    bench.submit("typo", **{"xgboost.params.max_dept": 3})
    bench.phase("typo", "Failed")
    assert condition(bench, "typo", "Failed")["reason"] == "BadHyperParameter"
    bench.submit("good")
    finish(bench, "good")  # meanwhile nothing more happens to the other
    bench.phase("good", "Succeeded")
    [_] = [call for call in proxy.calls if call.path.endswith("/trainingjobs/typo/status")]


def test_a_secret_that_a_pod_lacks_is_named_and_waited_for(bench: Bench) -> None:
    bench.operator().wait_ready()
    tls = {"name": "tls", "secret": {"secretName": "tls"}}
    data = {"name": "data", "emptyDir": {}}
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "tls", "mountPath": "/etc/tls"}]
    bench.submit("lacks", volumes=[data, tls], volumeMounts=mounts, maxRestarts=0)
    pods = bench.kubelet.pods("lacks", 1, 2)
    mounted = next(volume for volume in pods[0]["spec"]["volumes"] if volume["name"] == "tls")
    assert mounted["secret"]["optional"] is True
    bench.kubelet.run(pods)
    words = "Secret tls of namespace team, mounted at /etc/tls, is not there or is empty: create it."
    for pod in pods:
        rank = rank_of(pod)
        bench.kubelet.finish([pod], Final(Exit.SECRET_MISSING, rank, message=words), Exit.SECRET_MISSING)
    status = bench.phase("lacks", "Queued")["status"]
    assert (status["reason"], status["restarts"]) == ("SecretMissing", 0)
    assert words in condition(bench, "lacks", "Admitted")["message"]
    pods = bench.kubelet.pods("lacks", 2, 2)
    bench.kubelet.run(pods)
    bench.kubelet.finish(pods, succeeded())
    bench.phase("lacks", "Succeeded")
