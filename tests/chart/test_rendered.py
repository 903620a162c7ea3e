"""What the chart renders and refuses, without a cluster."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlpools_operator import settings
from mlpools_operator.__main__ import LEASE
from mlpools_operator.domain.computepool import placeholders
from tools.quickstart.install import CHART, NAMESPACE

pytestmark = pytest.mark.chart

FAMILIES = "mlpools-operator-instance-families"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]
Helm = Callable[..., subprocess.CompletedProcess[str]]


def one(objects: list[Manifest], kind: str, name: str = "mlpools-operator") -> Manifest:
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def environment(objects: list[Manifest]) -> dict[str, str]:
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def rules(objects: list[Manifest], kind: str) -> list[tuple[str, str, str]]:
    """The operator's rights from roles of a kind, as (group, resource, verb)."""
    return [
        (group, resource, verb)
        for each in objects
        if each["kind"] == kind and each["metadata"]["name"].startswith("mlpools-operator")
        for rule in each["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def test_lint_has_nothing_to_say(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


def test_versions_are_the_projects(project_version: str) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project_version


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("loglevel=INFO", "additional properties 'loglevel' not allowed"),
        ("image.operator.tga=1", "'/image/operator': additional properties 'tga' not allowed"),
        ("settings.probeSecond=1", "'/settings': additional properties 'probeSecond' not allowed"),
        ("settings.workers=0", "'/settings/workers': minimum: got 0, want 1"),
        ("settings.probeSeconds=soon", "'/settings/probeSeconds'"),
        ("replicas=0", "'/replicas': minimum: got 0, want 1"),
        ("logLevel=loud", "'/logLevel': value must be one of"),
        ("crds.enabled=maybe", "'/crds/enabled': got string, want boolean"),
        ("notebooks.domain=*.example.com", "'/notebooks/domain': '*.example.com' does not match pattern"),
        ("notebooks.domains=example.com", "'/notebooks': additional properties 'domains' not allowed"),
        ("namespaces={Team}", "'/namespaces/0': 'Team' does not match pattern"),
        ("image.runtime.digest=latest", "'/image/runtime/digest': 'latest' does not match pattern"),
        ("image.runtime.repository=", "'/image/runtime/repository': minLength"),
        ("networkPolicy=null", "missing property 'networkPolicy'"),
        ("instanceFamilies.Big.instance.cpu=1", "invalid propertyName 'Big'"),
        ("instanceFamilies.big.instance.cpu=1", "/big/instance': missing property 'memory'"),
        ("instanceFamilies.cpu-small.instance.gpu=1", "additional properties 'gpu' not allowed"),
        ("metrics.prometheusRule.restarts=-1", "'/metrics/prometheusRule/restarts': minimum: got -1, want 0"),
        ("metrics.prometheusRule.runbooks=docs", "'/metrics/prometheusRule/runbooks': 'docs'"),
        ("metrics.dashboard.enabled=maybe", "'/metrics/dashboard/enabled': got string, want boolean"),
        ("instanceFamilies.cpu-small.instance.cpu=two", "'/instanceFamilies/cpu-small/instance/cpu': 'two'"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_path(helm: Helm, value: str, said: str) -> None:
    done = helm("template", str(CHART), "--kube-version=1.36.0", "--set", value)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[list[Manifest]], settings.Settings]:
    """Read the settings as the rendered operator would: from its variables and mounted files."""

    def read(objects: list[Manifest]) -> settings.Settings:
        (file,) = one(objects, "ConfigMap", FAMILIES)["data"].items()
        for name, value in environment(objects).items():
            monkeypatch.setenv(name, value)
        (tmp_path / file[0]).write_text(file[1])
        monkeypatch.setenv("MLPOOLS_INSTANCE_FAMILIES", str(tmp_path / file[0]))
        return settings.load()

    return read


def schema_leaves(node: dict[str, Any], definitions: dict[str, Any], path: str = "") -> Iterator[str]:
    node = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    if "properties" not in node:
        yield path
    for name, child in node.get("properties", {}).items():
        yield from schema_leaves(child, definitions, f"{path}.{name}" if path else name)


def test_the_readme_describes_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    described = set(re.findall(r"`([a-zA-Z.]+)`", (CHART / "README.md").read_text()))
    wanted = set(schema_leaves(schema, schema["definitions"])) - {"global"}
    assert {leaf for leaf in wanted if not leaf.startswith("resources.")} <= described


def test_the_operator_accepts_the_settings_that_it_is_given(
    render: Render, told: Callable[[list[Manifest]], settings.Settings]
) -> None:
    every_setting = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"][
        "properties"
    ]
    values = {
        "logFormat": "text",
        "workers": 3,
        "clusterDomain": "example.org",
        "probeSeconds": 0.5,
        "lookSeconds": 5,
        "progressSeconds": 1,
        "sweepSeconds": 60,
        "usageSeconds": 30,
        "namespaceSeconds": 5,
    }
    assert set(values) == set(every_setting)
    chosen = (f"settings.{name}={value}" for name, value in values.items())
    read = told(render(*chosen, "namespaces={team-a,team-b}"))
    assert (read.log_format, read.workers, read.cluster_domain) == ("text", 3, "example.org")
    assert (read.probe_seconds, read.progress_seconds, read.sweep_seconds) == (0.5, 1, 60)
    assert read.namespaces == ("team-a", "team-b")
    assert read.operator_namespace == "mlpools-system"


def test_the_operator_is_told_of_the_notebooks_domain(
    render: Render, told: Callable[[list[Manifest]], settings.Settings]
) -> None:
    assert (told(render()).notebooks_domain, told(render()).ingress_annotations) == ("", {})
    key = r"notebooks.ingressAnnotations.nginx\.ingress\.kubernetes\.io/proxy-body-size=50m"
    read = told(render("notebooks.domain=nb.example.com", key))
    assert read.notebooks_domain == "nb.example.com"
    assert read.ingress_annotations == {"nginx.ingress.kubernetes.io/proxy-body-size": "50m"}


def test_the_operator_reads_the_catalogue_from_its_file(
    render: Render, told: Callable[[list[Manifest]], settings.Settings]
) -> None:
    objects = render("instanceFamilies.cpu-small=null", "instanceFamilies.cpu-large.instance.cpu=6")
    read = told(objects).instance_families
    assert "cpu-small" not in read
    assert (read["cpu-large"].instance.cpu, read["cpu-large"].instance.memory) == ("6", "26Gi")
    assert read["gpu-t4"].instance.gpus == 1
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each.get("configMap", {}).get("name") == FAMILIES]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == volume["name"]]
    (file,) = one(objects, "ConfigMap", FAMILIES)["data"]
    assert environment(objects)["MLPOOLS_INSTANCE_FAMILIES"] == f"{mount['mountPath']}/{file}"


def test_another_catalogue_starts_a_new_operator_and_nothing_else_does(render: Render) -> None:
    def annotations(*values: str) -> dict[str, str]:
        template = one(render(*values), "Deployment")["spec"]["template"]
        return dict(template["metadata"]["annotations"])

    assert annotations() == annotations("crds.enabled=false")
    assert annotations() != annotations("instanceFamilies.cpu-large.instance.cpu=6")
    assert annotations("podAnnotations.team=ml").items() >= {"team": "ml", **annotations()}.items()


def test_policies_can_name_the_operators_pods(
    render: Render, told: Callable[[list[Manifest]], settings.Settings]
) -> None:
    objects = render()
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    own = told(objects).operator_labels
    assert own.items() <= labels.items()
    assert own == one(objects, "Service")["spec"]["selector"]
    assert own == one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ((), "mlpools-runtime:VERSION"),
        (("image.runtime.repository=host:5000/a/b", "image.runtime.tag=x"), "host:5000/a/b:x"),
        (
            ("image.runtime.tag=x", f"image.runtime.digest=sha256:{64 * 'a'}"),
            f"mlpools-runtime@sha256:{64 * 'a'}",
        ),
    ],
)
def test_images(render: Render, project_version: str, values: tuple[str, ...], image: str) -> None:
    assert environment(render(*values))["MLPOOLS_RUNTIME_IMAGE"] == image.replace("VERSION", project_version)


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ((), "mlpools-runtime-full:VERSION"),
        (("image.runtimeFull.repository=host:5000/full", "image.runtimeFull.tag=x"), "host:5000/full:x"),
        (("image.runtimeFull.repository=",), None),
    ],
)
def test_the_full_image_may_be_left_out(
    render: Render, project_version: str, values: tuple[str, ...], image: str | None
) -> None:
    wanted = image.replace("VERSION", project_version) if image else None
    assert environment(render(*values)).get("MLPOOLS_RUNTIME_FULL_IMAGE") == wanted


def test_the_operator_never_sees_a_secret(render: Render) -> None:
    for values in ((), ("namespaces={team-a}",)):
        objects = render(*values)
        granted = rules(objects, "ClusterRole") + rules(objects, "Role")
        assert granted
        assert not [right for right in granted if right[1] == "*" or right[2] == "*"]
        # Making one is no look at any: the token of a notebook.
        assert {right[2] for right in granted if right[1] == "secrets"} == {"create"}


def test_with_namespaces_only_pools_are_granted_for_the_whole_cluster(render: Render) -> None:
    objects = render("namespaces={team-a,team-b}")
    assert {resource for _, resource, _ in rules(objects, "ClusterRole")} == {
        "computepools",
        "computepools/status",
    }
    bound = [each for each in objects if each["kind"] == "ClusterRoleBinding"]
    assert [each["roleRef"]["name"] for each in bound] == ["mlpools-operator"]
    places = {
        (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in objects
        if each["kind"] == "Role"
    }
    assert places == {
        ("team-a", "mlpools-operator"),
        ("team-b", "mlpools-operator"),
        ("default", "mlpools-operator-pool-events"),
        ("default", "mlpools-operator-api-server"),
        (NAMESPACE, "mlpools-operator-placeholders"),
        (NAMESPACE, "mlpools-operator-usage"),
        (NAMESPACE, "mlpools-operator-lease"),
    }


def test_both_modes_grant_the_same_requests_but_how_namespaces_are_read(render: Render) -> None:
    objects, listed = render(), render("namespaces={team-a}")
    everywhere = {*rules(objects, "ClusterRole"), *rules(objects, "Role")}
    some = {*rules(listed, "ClusterRole"), *rules(listed, "Role")}
    assert everywhere - some == {("", "namespaces", "list"), ("", "namespaces", "watch")}
    assert some - everywhere == {("", "namespaces", "get")}


def test_the_lease_is_the_only_one_that_it_may_touch(render: Render) -> None:
    create, use = one(render(), "Role", "mlpools-operator-lease")["rules"]
    assert create["verbs"] == ["create"]
    assert (use["verbs"], use["resourceNames"]) == (["get", "update"], [LEASE])


def test_each_replica_has_its_pods_name(render: Render) -> None:
    (container,) = one(render(), "Deployment")["spec"]["template"]["spec"]["containers"]
    (identity,) = [each for each in container["env"] if each["name"] == "MLPOOLS_IDENTITY"]
    assert identity["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1), (3, 1)])
def test_a_drain_leaves_all_but_one(render: Render, replicas: int, budgets: int) -> None:
    objects = render(f"replicas={replicas}")
    deployment = one(objects, "Deployment")["spec"]
    assert deployment["replicas"] == replicas
    found = [each["spec"] for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert len(found) == budgets
    for budget in found:
        assert budget["selector"] == deployment["selector"]
        assert budget["maxUnavailable"] == 1


def test_placeholders_have_the_class_that_they_name_below_every_job(render: Render) -> None:
    found = one(render(), "PriorityClass", placeholders.PRIORITY_CLASS)
    assert (found["value"], found["preemptionPolicy"], found["globalDefault"]) == (-10, "Never", False)


def test_pods_are_made_in_the_operators_namespace_only(render: Render) -> None:
    for values in ((), ("namespaces={team-a}",)):
        makers = [
            (each["kind"], each["metadata"].get("namespace"))
            for each in render(*values)
            if each["kind"] in ("Role", "ClusterRole")
            and each["metadata"]["name"].startswith("mlpools-operator")
            for rule in each["rules"]
            if "pods" in rule["resources"] and {"create", "delete"} & set(rule["verbs"])
        ]
        assert makers == [("Role", "mlpools-system")]


def test_every_definition_is_kept(render: Render) -> None:
    definitions = [each for each in render() if each["kind"] == "CustomResourceDefinition"]
    assert {each["spec"]["names"]["kind"] for each in definitions} >= {"ComputePool", "TrainingJob"}
    for each in definitions:
        assert each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ("crds.enabled=false", {"CustomResourceDefinition"}),
        ("networkPolicy.enabled=false", {"NetworkPolicy"}),
    ],
)
def test_what_is_switched_off_is_not_rendered(render: Render, value: str, kinds: set[str]) -> None:
    assert kinds <= {each["kind"] for each in render()}
    assert not kinds & {each["kind"] for each in render(value)}


def test_a_service_monitor_scrapes_the_service(render: Render) -> None:
    objects = render("metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.labels.release=main")
    monitor, service = one(objects, "ServiceMonitor"), one(objects, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["metadata"]["labels"]["release"] == "main"
