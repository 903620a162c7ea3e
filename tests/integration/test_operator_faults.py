"""What can go wrong around the operator, and what a person finds afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.support.kube import Kube, Object
from tests.support.kubelet import succeeded
from tests.support.manifests import manifest
from tests.support.proxy import GO_ON, HANG_UP, Call, Proxy
from tests.support.waiting import PATIENCE, wait_for
from tools.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.integration


def run(bench: Bench, name: str, nodes: int = 2, attempt: int = 1) -> list[Object]:
    """Start all pods of an attempt."""
    pods = bench.kubelet.pods(name, attempt, nodes)
    bench.kubelet.run(pods)
    bench.phase(name, "Running")
    return pods


def end_well(bench: Bench, name: str, nodes: int = 2, attempt: int = 1) -> Object:
    """Play a job that goes well to its end."""
    bench.kubelet.finish(run(bench, name, nodes, attempt), succeeded())
    return bench.phase(name, "Succeeded")


def test_deletions_in_a_watch_gap_are_found_by_a_sweep(
    bench: Bench, proxy: Proxy, through_proxy: Path
) -> None:
    bench.operator(through_proxy).wait_ready()
    bench.submit("gone", nodes=4)
    run(bench, "gone", nodes=4)
    bench.submit("next", nodes=4)
    bench.phase("next", "Queued")

    proxy.cut_watches()
    bench.kube.delete("TrainingJob", "gone", bench.namespace)
    bench.kube.delete("Job", "gone-1", bench.namespace)

    def all_gone() -> bool:
        bench.kubelet.collect()
        return not bench.kube.list("Pod", bench.namespace) and not bench.kube.list("Job", bench.namespace)

    wait_for("end of the deleted job's pods", all_gone)
    assert bench.job("next")["status"]["phase"] == "Queued"
    proxy.resume_watches(expired=True)
    bench.phase("next", "Starting")


def test_a_watch_that_only_broke_loses_nothing(bench: Bench, proxy: Proxy, through_proxy: Path) -> None:
    bench.operator(through_proxy).wait_ready()
    bench.submit("quiet")
    pods = run(bench, "quiet")
    proxy.cut_watches()
    bench.kubelet.finish(pods, succeeded())
    proxy.resume_watches(expired=False)
    status = bench.phase("quiet", "Succeeded", "Restarting")["status"]
    assert (status["phase"], status["attempt"], status["restarts"]) == ("Succeeded", 1, 0)


def test_a_strangers_service_is_left_alone_and_named(bench: Bench) -> None:
    bench.operator().wait_ready()
    stranger = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "tj-taken"},
        "spec": {"clusterIP": "None", "selector": {"app": "theirs"}},
    }
    made = bench.kube.create(stranger, bench.namespace)
    bench.submit("taken")
    status = bench.phase("taken", "Queued")["status"]
    assert status["reason"] == "NameConflict"
    admitted = next(it for it in status["conditions"] if it["type"] == "Admitted")
    assert "tj-taken" in admitted["message"]
    wait_for("freed nodes", lambda: not bench.kube.list("Job", bench.namespace))
    assert bench.kube.get("Service", "tj-taken", bench.namespace) == made

    bench.kube.delete("Service", "tj-taken", bench.namespace)

    def own_service() -> bool:
        service = bench.kube.find("Service", "tj-taken", bench.namespace)
        return service is not None and "ownerReferences" in service["metadata"]

    wait_for("service of the job itself", own_service)


def test_a_job_that_is_deleted_and_made_again_at_once_starts_afresh(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.submit("again")
    run(bench, "again")
    old = bench.job("again")["metadata"]["uid"]
    bench.kube.delete("TrainingJob", "again", bench.namespace)
    bench.submit("again")

    def own_pods() -> bool:
        bench.kubelet.collect()
        pods = bench.kubelet.there("again", 1)
        return len(pods) == 2 and all(pod["metadata"]["labels"]["mlpools.dev/job-uid"] != old for pod in pods)

    wait_for("pods of the second job", own_pods)  # the collector looks for new kinds every 30 s
    status = end_well(bench, "again")["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)
    uid = bench.job("again")["metadata"]["uid"]
    for kind in ("Job", "Service", "NetworkPolicy"):
        owners = [
            it["metadata"]["ownerReferences"][0]["uid"] for it in bench.kube.list(kind, bench.namespace)
        ]
        assert owners == [uid]


def test_a_failed_attempt_is_followed_by_another(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.submit("retried")
    pods = run(bench, "retried")
    bench.kubelet.finish(pods[1:], code=137)
    bench.phase("retried", "Restarting")
    bench.kubelet.finish(pods[:1], code=137)
    status = end_well(bench, "retried", attempt=2)["status"]
    assert (status["attempt"], status["restarts"]) == (2, 1)
    assert [job["metadata"]["name"] for job in bench.kube.list("Job", bench.namespace)] == ["retried-2"]


def test_pods_that_a_quota_refuses_free_the_nodes_and_say_why(bench: Bench) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    bench.kube.create({**quota, "spec": {"hard": {"pods": "0"}}}, bench.namespace)
    wait_for(
        "quota in force",
        lambda: bench.kube.get("ResourceQuota", "none", bench.namespace).get("status", {}).get("hard"),
    )
    bench.operator().wait_ready()
    bench.submit("refused")
    status = bench.phase("refused", "Queued")["status"]
    assert status["reason"] == "PodsRefused"
    message = next(it for it in status["conditions"] if it["type"] == "Admitted")["message"]
    assert "exceeded quota: none" in message
    assert status["restarts"] == 0


def test_a_write_that_fails_is_tried_again(bench: Bench, proxy: Proxy, through_proxy: Path) -> None:
    operator = bench.operator(through_proxy).wait_ready()

    def fail(call: Call) -> int:
        return 503 if call.method != "GET" and call.number <= 2 and "/events" not in call.path else GO_ON

    proxy.before = fail
    bench.submit("flaky")
    status = end_well(bench, "flaky")["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)
    warnings = [
        line for line in operator.lines() if line["level"] == "warning" and "Request" in line["message"]
    ]
    assert warnings
    assert not [line for line in operator.lines() if "traceback" in line]


def test_a_status_is_never_written_over_what_was_not_seen(
    bench: Bench, proxy: Proxy, through_proxy: Path
) -> None:
    operator = bench.operator(through_proxy).wait_ready()
    path = f"/namespaces/{bench.namespace}/trainingjobs/edited/status"

    def edit(call: Call) -> int:
        if call.path.endswith(path) and call.number == 1:
            bench.kube.patch("TrainingJob", "edited", {"spec": {"nodes": 3}}, bench.namespace)
        return GO_ON

    proxy.before = edit
    bench.submit("edited", nodes=2)
    end_well(bench, "edited", nodes=3)
    assert operator.requests()["update", "trainingjobs/status", "409"] == 1
    assert not [line for line in operator.lines() if line["level"] in ("warning", "error")], "It is no news."
    assert len(bench.kubelet.there("edited", 1)) == 3


@pytest.mark.parametrize("kind", ["services", "networkpolicies", "jobs"])
def test_a_lost_answer_is_no_obstacle(bench: Bench, proxy: Proxy, through_proxy: Path, kind: str) -> None:
    bench.operator(through_proxy).wait_ready()

    def first_write(call: Call) -> bool:
        wanted = f"/{bench.namespace}/{kind}" in call.path
        return wanted and call.method != "GET" and call.number == 1

    def cut(call: Call) -> int:
        if first_write(call):
            proxy.cut_watches()  # else they tell that the write was carried out
        return GO_ON

    def asked() -> bool:
        one = f"/{bench.namespace}/{kind}/"
        return any(call.method == "GET" and one in call.path for call in proxy.calls)

    proxy.before, proxy.after = cut, lambda call: HANG_UP if first_write(call) else GO_ON
    bench.submit("unheard")
    wait_for("look at who has the name", asked)
    proxy.resume_watches(expired=False)
    status = end_well(bench, "unheard")["status"]
    assert (status["attempt"], status["restarts"]) == (1, 0)


def test_nothing_is_decided_before_everything_is_known(
    bench: Bench, proxy: Proxy, through_proxy: Path
) -> None:
    first = bench.operator(through_proxy).wait_ready()
    bench.submit("steady")
    pods = run(bench, "steady")
    assert first.stop() == 0
    before = bench.job("steady")

    release = threading.Event()
    held = []

    def hold(call: Call) -> int:
        if call.watcher and call.method == "GET" and call.path.endswith(("/jobs", "/pods")):
            held.append(call)
            release.wait(PATIENCE)
        return GO_ON

    proxy.before = hold
    second = bench.operator(through_proxy)
    wait_for(
        "lists of Jobs and pods", lambda: {call.path.rpartition("/")[2] for call in held} == {"jobs", "pods"}
    )
    wait_for("word that it is not ready", lambda: "not complete" in second.get("/readyz")[1])
    wait_for("lists of its own", lambda: second.requests().get(("list", "trainingjobs", "200")))
    assert bench.job("steady") == before
    release.set()
    second.wait_ready()
    bench.kubelet.finish(pods, succeeded())
    assert bench.phase("steady", "Succeeded")["status"]["attempt"] == 1


def test_a_node_is_given_once_though_its_admission_is_still_being_written(
    bench: Bench, proxy: Proxy, through_proxy: Path
) -> None:
    release = threading.Event()

    def hold(call: Call) -> int:
        if call.path.endswith("/trainingjobs/first/status"):  # tried again while there is no answer
            release.wait(PATIENCE)
        return GO_ON

    proxy.before = hold
    bench.operator(through_proxy).wait_ready()
    bench.submit("first", nodes=3)
    wait_for("admission", lambda: any(call.path.endswith("/first/status") for call in proxy.calls))
    bench.submit("second", nodes=3, priority=100)
    bench.phase("second", "Queued")
    assert "status" not in bench.job("first")
    release.set()
    bench.phase("first", "Starting")
    assert bench.job("second")["status"]["phase"] == "Queued"


def test_an_operator_waits_for_its_kinds(bench: Bench, proxy: Proxy, through_proxy: Path) -> None:
    hidden = True

    def hide(call: Call) -> int:
        return 404 if hidden and call.path == "/apis/mlpools.dev/v1alpha1" else GO_ON

    proxy.before = hide
    operator = bench.operator(through_proxy)
    wait_for("word about the CRDs", lambda: any("CRDs" in line["message"] for line in operator.lines()))
    assert operator.get("/readyz")[0] == 503
    assert operator.get("/healthz")[0] == 200
    hidden = False
    operator.wait_ready()


def test_an_operator_of_one_namespace_needs_no_rights_elsewhere(
    bench: Bench, kube: Kube, control_plane: ControlPlane, rights: Callable[..., list[Object]]
) -> None:
    other = f"{bench.namespace}-other"
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    wide = json.dumps(rights(f"namespaces={{{bench.namespace}}}"))
    account = kube.grant(json.loads(wide.replace("mlpools-operator", "narrow-operator")))
    kubeconfig = control_plane.kubeconfig_for(account, "mlpools-system")
    operator = bench.operator(kubeconfig).wait_ready()
    bench.submit("mine")
    theirs = manifest("TrainingJob", "theirs", {"computePool": bench.pool})
    kube.create(theirs, other)
    end_well(bench, "mine")
    assert "status" not in kube.get("TrainingJob", "theirs", other)
    wait_for("Event", lambda: operator.requests().get(("create", "events", "201")))
    assert not [request for request in operator.requests() if request[-1] == "403"]
    kube.delete("Namespace", other)


def test_the_log_is_one_json_object_a_line_and_names_objects(bench: Bench) -> None:
    operator = bench.operator(log_level="INFO").wait_ready()
    bench.submit("logged")
    end_well(bench, "logged")
    assert operator.stop() == 0
    lines = [json.loads(line) for line in operator.log.read_text().splitlines()]
    about = [line for line in lines if line.get("name") == "logged"]
    assert about
    assert {(line["kind"], line["namespace"]) for line in about} == {("TrainingJob", bench.namespace)}
