"""``kubectl mlpools`` before a real API server."""

from __future__ import annotations

import re
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from mlpools_operator.domain import times
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import succeeded
from tests.support.manifests import manifest
from tests.support.plugin import Person
from tests.support.waiting import wait_for
from tools.cluster import kubeconfig
from tools.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.integration


@pytest.fixture
def person(bench: Bench, control_plane: ControlPlane) -> Person:
    """An administrator."""
    text = kubeconfig.with_token(control_plane.server, control_plane.ca, control_plane.token)
    return Person(kubeconfig.write(bench.folder / "admin.kubeconfig", text), bench.namespace)


@pytest.fixture
def member(bench: Bench, control_plane: ControlPlane) -> Iterator[Person]:
    """Somebody who may read the jobs of their own namespace, and pools."""
    kinds = ["trainingjobs", "batchinferences", "notebookruntimes"]
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": bench.namespace}
    for kind, plurals in (("Role", kinds), ("ClusterRole", ["computepools"])):
        name = f"member-of-{bench.namespace}"
        rule = {"apiGroups": ["mlpools.dev"], "resources": plurals, "verbs": ["get", "list"]}
        api = "rbac.authorization.k8s.io/v1"
        role = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "rules": [rule]}
        named = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        binding = {**role, "kind": f"{kind}Binding", "subjects": [subject], "roleRef": named}
        del binding["rules"]
        space = bench.namespace if kind == "Role" else ""
        bench.kube.create(role, space)
        bench.kube.create(binding, space)
    yield Person(control_plane.kubeconfig_for("default", bench.namespace), bench.namespace)
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        bench.kube.delete(kind, f"member-of-{bench.namespace}")


def notebook(bench: Bench, name: str = "alice") -> None:
    bench.kube.create(manifest("NotebookRuntime", name, {"computePool": bench.pool}), bench.namespace)


def status(bench: Bench, kind: str, name: str, **fields: object) -> None:
    bench.kube.patch(kind, name, {"status": fields}, bench.namespace, "status")


def condition(name: str) -> Object:
    since = "2026-01-01T00:00:00Z"
    return {
        "type": name,
        "status": "True",
        "reason": "Idle",
        "message": "So it is.",
        "lastTransitionTime": since,
    }


def rows(text: str) -> list[list[str]]:
    """Lines of plain tables, by cell."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


def test_pools_and_queues_are_shown_as_they_are(bench: Bench, person: Person, member: Person) -> None:
    bench.operator().wait_ready()
    bench.submit("holds", nodes=3)
    bench.phase("holds", "Starting")
    bench.submit("waits", nodes=2)
    wait_for("a line", lambda: bench.kube.get("ComputePool", bench.pool)["status"].get("queue"))

    shown = rows(person.say("top", bench.pool))
    assert shown[0] == ["POOL", "STATE", "SHAPE", "ACTIVE/IDLE/MAX", "QUEUED"]
    assert shown[1][0] == bench.pool
    assert shown[1][2:] == ["2 CPU, 4Gi", "3/0/4", "1"]
    assert [bench.pool, bench.namespace, "3", "1", "0", "1"] in shown
    assert [bench.pool, bench.namespace, "TrainingJob", "holds", "3", "Starting"] in [it[:6] for it in shown]
    # Somebody with rights in one namespace sees its part, and is told so.
    partial = member.run("top", bench.pool)
    assert rows(partial.stdout)[1] == shown[1]
    assert f"those of namespace {bench.namespace}" in partial.stderr

    [line] = person.read("queue", bench.pool)["queues"]
    [place] = line["places"]
    assert (place["position"], place["name"], place["nodes"]) == (1, "waits", 2)
    assert place["message"] == bench.job("waits")["status"]["queue"]["message"]
    assert "waits" in member.say("queue", f"cp/{bench.pool}")


def test_a_wait_ends_when_it_has_come_or_cannot(bench: Bench, person: Person) -> None:
    bench.operator().wait_ready()
    bench.submit("good", nodes=1)
    assert "did not come within 0 s" in person.fail(4, "wait", "good", "--timeout=0s")
    pods = bench.kubelet.pods("good", 1, 1)
    bench.kubelet.run(pods)
    assert person.read("wait", "good", "--for=phase=Running")["status"]["phase"] == "Running"
    bench.kubelet.finish(pods, succeeded())
    assert "TrainingJob good is Succeeded" in person.say("wait", "tj/good")
    assert "Failed will not come" in person.fail(3, "wait", "good", "--for=Failed")
    bench.kube.delete("TrainingJob", "good", bench.namespace)
    kinds = "TrainingJob, BatchInference, NotebookRuntime or ComputePool"
    assert f"There is no {kinds} good in namespace {bench.namespace}" in person.fail(5, "wait", "good")


def test_jobs_notebooks_and_pools_are_stopped_and_started(bench: Bench, person: Person) -> None:
    bench.submit("arrival-delay")
    assert "saves how far it is" in person.say("stop", "arrival-delay")
    assert bench.job("arrival-delay")["spec"]["suspend"] is True
    assert "it queues with its age" in person.say("start", "arrival-delay")
    assert bench.job("arrival-delay")["spec"]["suspend"] is False

    notebook(bench)
    stopped_at = times.stamp(times.seconds("2090-01-01T00:00:00Z"))  # its clock is far ahead of the cluster's
    status(bench, "NotebookRuntime", "alice", conditions=[condition("Stopped")], stoppedAt=stopped_at)
    assert person.read("start", "nb/alice")["metadata"]["annotations"] == {
        "mlpools.dev/start-requested-at": "2090-01-01T00:00:01Z"
    }
    person.say("stop", bench.pool)
    assert bench.kube.get("ComputePool", bench.pool)["spec"]["suspend"] is True
    person.say("start", bench.pool)
    assert bench.kube.get("ComputePool", bench.pool)["spec"]["suspend"] is False


def test_a_stopped_notebook_comes_back_by_start_alone(bench: Bench, person: Person) -> None:
    notebooks = bench.of("NotebookRuntime")
    notebooks.operator().wait_ready()
    notebook(bench)
    bench.kubelet.pods("alice", 1, 1)
    person.say("stop", "alice")
    wait_for("its end", lambda: bench.kubelet.collect() or notebooks.job("alice")["status"].get("stoppedAt"))
    person.say("start", "alice")
    wait_for("its next pod", lambda: bench.kubelet.collect() or bench.kubelet.there("alice", 2))


def test_what_cannot_be_is_said_in_one_sentence(
    bench: Bench, person: Person, member: Person, tmp_path: Path
) -> None:
    bench.submit("arrival-delay")
    assert "did you mean arrival-delay?" in person.fail(5, "stop", "arival-delay")
    assert "tj/NAME (TrainingJob)" in person.fail(5, "stop", "job/arrival-delay")
    notebook(bench, "arrival-delay")
    assert "say tj/arrival-delay or nb/arrival-delay" in person.fail(1, "stop", "arrival-delay")
    assert "does not let you" in member.fail(7, "stop", "tj/arrival-delay")
    assert "No cluster to talk to" in Person(tmp_path / "none", "default").fail(6, "top")
    nobody = kubeconfig.with_token("https://127.0.0.1:9", person.kubeconfig, "no")
    assert "is the cluster up" in Person(
        kubeconfig.write(tmp_path / "nobody", nobody.replace("certificate-authority-data", "ca")), "default"
    ).fail(6, "top")


def restricted(bench: Bench) -> None:
    """Hold the namespace to the restricted Pod Security standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    bench.kube.patch("Namespace", bench.namespace, {"metadata": {"labels": labels}})


def test_logs_of_what_has_none_say_why(bench: Bench, person: Person) -> None:
    bench.operator().wait_ready()
    bench.submit("waits", nodes=2)
    pods = bench.kubelet.pods("waits", 1, 2)
    assert "Rank 1 of TrainingJob waits has not begun" in person.fail(1, "logs", "waits", "--rank=1")
    assert "has no rank 7: there is ranks 0 to 1" in person.fail(5, "logs", "waits", "--rank=7")
    bench.kubelet.run(pods)
    bench.kubelet.finish(pods, succeeded())
    bench.phase("waits", "Succeeded")
    for pod in pods:
        bench.kube.delete("Pod", pod["metadata"]["name"], bench.namespace, grace=0)
    selector = "mlpools.dev/job-name=waits"
    wait_for("no pod", lambda: not bench.kube.list("Pod", bench.namespace, selector))
    said = person.fail(5, "logs", "waits")
    assert "`kubectl mlpools fetch tj/waits DIR` brings them" in said


def test_a_volume_is_read_by_a_restricted_pod_that_goes_whatever_happens(
    bench: Bench, person: Person, tmp_path: Path
) -> None:
    restricted(bench)
    bench.operator().wait_ready()
    bench.submit("good", nodes=1)
    bench.kubelet.pods("good", 1, 1)
    before = bench.kube.version("Pod", bench.namespace)
    said = person.run("fetch", "good", str(tmp_path / "model"), "--timeout=0s")
    assert said.exit_code == 4, said.output
    assert "did not run within 0 s" in said.stderr
    assert not (tmp_path / "model").exists()
    history = bench.kube.since(before, "Pod", bench.namespace)
    [made] = [it for kind, it in history if kind == "ADDED" and "mlpools-fetch-" in it["metadata"]["name"]]
    assert made["spec"]["volumes"] == [{"name": "courier", "persistentVolumeClaim": {"claimName": "flights"}}]
    assert bench.kube.find("Pod", made["metadata"]["name"], bench.namespace) is None


PLANTED = "h0rse-battery/staple="


def test_a_bundle_has_all_that_is_known_and_no_secret(bench: Bench, person: Person, tmp_path: Path) -> None:
    data = {"password": PLANTED, "url": f"postgresql://ml:{quote(PLANTED, safe='')}@db/flights"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"}, "stringData": data}
    bench.kube.create(secret, bench.namespace)
    operator = bench.operator().wait_ready()
    hidden = {"name": "WANDB_API_KEY", "value": "an-api-key-of-mine"}
    private = {"name": "GREETING", "value": "a-word-of-mine"}  # of no Secret, and named as none
    bench.submit("leaky", nodes=1, envFrom=[{"secretRef": {"name": "store"}}], env=[hidden, private])
    bench.kubelet.run(bench.kubelet.pods("leaky", 1, 1))
    bench.phase("leaky", "Running")
    operator.kill()
    encoded = b64encode(PLANTED.encode()).decode()
    said = f"Logged in with {PLANTED} and {encoded} and an-api-key-of-mine, password=of-nobody-known."
    failed = [{**condition("Failed"), "message": said}]
    status(bench, "TrainingJob", "leaky", reason="UserCodeError", conditions=failed)
    meta = bench.job("leaky")["metadata"]
    involved = {"kind": "TrainingJob", "name": "leaky", "namespace": bench.namespace, "uid": meta["uid"]}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "leaky.1"}, "involvedObject": involved}
    bench.kube.create({**event, "reason": "Said", "message": said, "type": "Normal"}, bench.namespace)

    path = tmp_path / "bundle.tar.gz"
    done = person.run("debug", "leaky", f"--file={path}")
    assert done.exit_code == 0, done.output
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        files = {it.name: archive.extractfile(it).read().decode() for it in archive}  # type: ignore[union-attr]
    whole = "\n".join([*files, *files.values(), done.output])
    told = (hidden["value"], private["value"], "of-nobody-known")
    for value in (PLANTED, encoded, quote(PLANTED, safe=""), *told):
        assert value not in whole
    assert (
        "Logged in with <redacted> and <redacted> and <redacted>, password=<redacted>"
        in files["bundle/events.txt"]
    )
    kinds = {name.removeprefix("bundle/objects/").partition("-")[0] for name in files if "/objects/" in name}
    assert kinds == {"TrainingJob", "ComputePool", "Job", "Pod", "Service", "NetworkPolicy"}
    assert "TrainingJob leaky is Running (UserCodeError)" in files["bundle/summary.txt"]
    # What it could not get is said in the file and on the screen: no kubelet is here, and no operator's pod.
    for place in (files["bundle/summary.txt"], done.stderr):
        assert "No operator runs in namespace mlpools-system" in place
        assert "main.log is missing" in place
    assert "cannot be written" in person.fail(1, "debug", "leaky", f"--file={path}")
