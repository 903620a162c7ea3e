"""The chart in a real API server: installed, upgraded, removed, installed again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.manifests import manifest
from tests.support.waiting import PATIENCE
from tools.kubectl import Kubectl
from tools.quickstart.install import CHART, NAMESPACE, RELEASE
from tools.steps import ToolError, wait_for

pytestmark = pytest.mark.chart

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]
Install = Callable[..., str]

OPERATOR = f"system:serviceaccount:{NAMESPACE}:mlpools-operator"


def apply(kubectl: Kubectl, value: Manifest, namespace: str = "team-a") -> Manifest:
    kubectl.apply(json.dumps(value), namespace=namespace)
    found = kubectl.get(value["kind"], value["metadata"]["name"], namespace)
    assert found is not None
    return found


def identity(kubectl: Kubectl, kind: str, name: str, namespace: str = "team-a") -> tuple[str, Any, Any]:
    """What must not change: which object it is, how often its spec was changed, and its spec."""
    found = kubectl.get(kind, name, namespace)
    assert found is not None, f"{kind} {name} is gone"
    return found["metadata"]["uid"], found["metadata"].get("generation"), found["spec"]


def established(kubectl: Kubectl) -> None:
    kubectl.run("wait", "--for=condition=Established", "--timeout=150s", "crd", "trainingjobs.mlpools.dev")


@pytest.fixture
def living(kubectl: Kubectl, release: Install) -> Callable[[], dict[str, Any]]:
    """An installed release, a pool, a job, and the job's running pod; returns how they are by now."""
    release()
    established(kubectl)
    apply(kubectl, manifest("ComputePool", "cpu"))
    job = apply(kubectl, manifest("TrainingJob", "fraud"))
    owner = {key: job[key] for key in ("apiVersion", "kind")} | {
        key: job["metadata"][key] for key in ("name", "uid")
    }
    container = {"name": "main", "image": "runtime"}
    pod = {"restartPolicy": "Never", "containers": [container]}
    child = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "fraud-1", "ownerReferences": [{**owner, "controller": True}]},
        "spec": {"template": {"spec": pod}},
    }
    apply(kubectl, child)

    def pods() -> list[Manifest]:
        return kubectl.list("pods", selector="job-name=fraud-1", namespace="team-a")

    wait_for("the Job's pod", lambda: None if pods() else "there is none", seconds=PATIENCE)
    name = pods()[0]["metadata"]["name"]
    running = json.dumps({"status": {"phase": "Running"}})
    kubectl.run("patch", "pod", name, "-n", "team-a", "--subresource=status", "-p", running)

    def look() -> dict[str, Any]:
        (pod,) = pods()
        return {
            "pool": identity(kubectl, "computepool", "cpu"),
            "job": identity(kubectl, "trainingjob", "fraud"),
            "child": identity(kubectl, "job", "fraud-1"),
            "pod": (pod["metadata"]["uid"], pod["status"]["phase"], pod["metadata"].get("deletionTimestamp")),
        }

    return look


@pytest.mark.parametrize(
    "values", [(), ("namespaces={team-a,team-b}", "logLevel=DEBUG", "settings.workers=2")]
)
def test_the_api_server_accepts_all_that_is_rendered(
    kubectl: Kubectl, render: Render, values: tuple[str, ...]
) -> None:
    listing = {"apiVersion": "v1", "kind": "List", "items": render(*values)}
    kubectl.run(
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "--server-side",
        "-f",
        "-",
        stdin=json.dumps(listing),
    )


def test_the_operators_pod_meets_the_restricted_standard(kubectl: Kubectl, render: Render) -> None:
    (template,) = [each["spec"]["template"] for each in render() if each["kind"] == "Deployment"]
    kubectl.run(
        "label", "namespace", "team-b", "pod-security.kubernetes.io/enforce=restricted", "--overwrite"
    )
    kubectl.run("create", "serviceaccount", "mlpools-operator", "-n", "team-b")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": template["spec"]}
    kubectl.run("create", "--dry-run=server", "-n", "team-b", "-f", "-", stdin=json.dumps(pod))


def test_uninstalling_and_installing_again_touches_nothing_that_lives(
    kubectl: Kubectl, release: Install, living: Callable[[], dict[str, Any]]
) -> None:
    before = living()
    kubectl.helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait")
    assert kubectl.get("deployment", "mlpools-operator", NAMESPACE) is None
    assert living() == before
    release()
    assert kubectl.get("deployment", "mlpools-operator", NAMESPACE) is not None
    assert living() == before


def test_another_release_takes_over_only_when_told_to(
    kubectl: Kubectl, release: Install, living: Callable[[], dict[str, Any]]
) -> None:
    before = living()
    with pytest.raises(ToolError, match="cannot be imported into the current release"):
        release(name="second")
    with pytest.raises(ToolError, match="cannot be imported into the current release"):
        release("--set", "crds.enabled=false", name="second")
    kubectl.helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait")
    release("--take-ownership", name="third")
    assert living() == before


def test_an_upgrade_that_adds_a_field_keeps_what_lives(
    kubectl: Kubectl, release: Install, living: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    before = living()
    newer = manifest("TrainingJob", "newer", {"colour": "green"})
    with pytest.raises(ToolError, match=r'unknown field "spec\.colour"'):
        apply(kubectl, newer)
    release(chart=with_field(tmp_path / "mlpools", "colour"))
    assert living() == before
    wait_for("the new field", lambda: _refused(kubectl, newer), seconds=PATIENCE)
    assert apply(kubectl, newer)["spec"]["colour"] == "green"


def _refused(kubectl: Kubectl, value: Manifest) -> str | None:
    """A changed definition is served a moment after it was accepted."""
    try:
        apply(kubectl, value)
    except ToolError as error:
        return str(error)
    return None


def with_field(chart: Path, field: str) -> Path:
    """The next release of the chart: its TrainingJob has one more field."""
    shutil.copytree(CHART, chart)
    path = chart / "templates" / "crds" / "trainingjobs.yaml"
    head, body = path.read_text().split("\napiVersion:", 1)
    body, _, end = f"apiVersion:{body}".rpartition("{{- end }}")
    definition = yaml.safe_load(body)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    schema["spec"]["properties"][field] = {"type": "string", "maxLength": 20}
    path.write_text(f"{head}\n{yaml.safe_dump(definition)}{{{{- end }}}}{end}")
    return chart


def may(kubectl: Kubectl, user: str, verb: str, resource: str, namespace: str) -> bool:
    """Ask the API server whether a user may send a request; `resource` is KIND.GROUP/SUBRESOURCE."""
    name, _, subresource = resource.partition("/")
    plural, _, group = name.partition(".")
    attributes = {"verb": verb, "resource": plural, "group": group, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {**attributes, "namespace": namespace}},
    }
    answer = kubectl.run("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


JOBS, POOLS = "trainingjobs.mlpools.dev", "computepools.mlpools.dev"


def test_people_have_rights_through_the_clusters_own_roles(kubectl: Kubectl, release: Install) -> None:
    release()
    for name, binding in {
        "viewer": ("rolebinding", "--clusterrole=view", "--namespace=team-a"),
        "editor": ("rolebinding", "--clusterrole=edit", "--namespace=team-a"),
        "chief": ("clusterrolebinding", "--clusterrole=admin"),
    }.items():
        kubectl.run("create", binding[0], f"{name}-{RELEASE}", f"--user={name}", *binding[1:])
    # A controller adds the rules to the cluster's roles.
    wait_for(
        "the roles",
        lambda: None if may(kubectl, "chief", "create", POOLS, "") else "not aggregated",
        seconds=PATIENCE,
    )
    wanted = {
        ("viewer", "list", JOBS, "team-a"): True,
        ("viewer", "create", JOBS, "team-a"): False,
        ("editor", "create", JOBS, "team-a"): True,
        ("editor", "update", f"{JOBS}/status", "team-a"): False,
        ("editor", "create", JOBS, "team-b"): False,
        ("editor", "create", POOLS, ""): False,
        ("chief", "update", f"{POOLS}/status", ""): False,
    }
    assert {question: may(kubectl, *question) for question in wanted} == wanted


def test_the_operator_has_rights_where_it_serves(kubectl: Kubectl, release: Install) -> None:
    release("--set", "namespaces={team-a}")
    wanted = {
        ("create", "jobs.batch", "team-a"): True,
        ("update", f"{JOBS}/status", "team-a"): True,
        ("list", POOLS, ""): True,
        ("update", f"{POOLS}/status", ""): True,
        ("create", "events", "default"): True,
        ("create", "leases.coordination.k8s.io", NAMESPACE): True,
        ("update", "leases.coordination.k8s.io", NAMESPACE): False,
        ("create", "leases.coordination.k8s.io", "team-a"): False,
        ("list", JOBS, ""): False,
        ("create", "jobs.batch", "team-b"): False,
        ("update", JOBS, "team-a"): False,
        ("create", "pods", "team-a"): False,
        ("get", "secrets", "team-a"): False,
        ("get", "secrets", NAMESPACE): False,
        ("get", "namespaces", "team-a"): True,
        ("get", "namespaces", "team-b"): False,
        ("list", "namespaces", ""): False,
        ("update", "configmaps", NAMESPACE): True,
        ("delete", "configmaps", NAMESPACE): True,
        ("delete", "configmaps", "team-a"): False,
        ("get", "configmaps", "team-a"): False,
    }
    assert {question: may(kubectl, OPERATOR, *question) for question in wanted} == wanted
