"""Every rule of the CRDs in a real API server: a refused object with the message, and one let pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.crdgen.crd import object_schema
from tests.support.all_rules import CASES, TRANSITIONS
from tests.support.api_rules import Case, Transition
from tests.support.custom_objects import CustomObjects, RefusedError
from tests.support.manifests import ABSENT, manifest, spec
from tests.support.waiting import PATIENCE
from tools.cluster.controlplane import ControlPlane
from tools.kubectl import Kubectl
from tools.steps import wait_for

pytestmark = pytest.mark.integration
CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """A cluster that serves all kinds, with the schemas that are committed."""
    kubectl = Kubectl(control_plane.kubeconfig)
    kubectl.run("apply", "--server-side", "--force-conflicts", f"--filename={CRDS}")
    kubectl.run("wait", "--for=condition=Established", f"--filename={CRDS}")
    return kubectl


@pytest.fixture(scope="module")
def objects(kubectl: Kubectl, control_plane: ControlPlane) -> CustomObjects:
    objects = CustomObjects(control_plane)

    def not_served() -> str | None:
        try:
            for kind in KINDS:
                objects.create(manifest(kind, "probe"))
        except RefusedError as refusal:
            return str(refusal)
        return None

    wait_for("the API of all kinds", not_served, seconds=PATIENCE)
    return objects


def name(case: Case | Transition) -> str:
    return f"{case.kind} {case.where or 'object'}: {case.message}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_rule(objects: CustomObjects, case: Case) -> None:
    objects.create(manifest(case.kind, "accepted", case.accepted))
    with pytest.raises(RefusedError) as refusal:
        objects.create(manifest(case.kind, "refused", case.refused))
    assert case.message in str(refusal.value)


@pytest.fixture
def stored(objects: CustomObjects, request: pytest.FixtureRequest) -> Iterator[str]:
    """An object that really exists, with the transition's status."""
    transition: Transition = request.param
    objects.create(manifest(transition.kind, "stored"), keep=True)
    if transition.status:
        objects.set_status(transition.kind, "stored", dict(transition.status))
    yield "stored"
    objects.delete(transition.kind, "stored")


@pytest.mark.parametrize(
    ("stored", "transition"),
    [(it, it) for it in TRANSITIONS],
    indirect=["stored"],
    ids=map(name, TRANSITIONS),
)
def test_transition(objects: CustomObjects, stored: str, transition: Transition) -> None:
    kind = transition.kind
    for path, value in transition.accepted.items():
        objects.change(kind, stored, spec(kind, {path: value}))
    for path, value in transition.refused.items():
        with pytest.raises(RefusedError) as refusal:
            objects.change(kind, stored, spec(kind, {path: value}))
        assert transition.message in str(refusal.value), path
    objects.set_status(kind, stored, {"phase": "Running", "observedGeneration": 7})
    objects.change(kind, stored, spec(kind))


SCHEMA_RULES: list[tuple[str, dict[str, Any], str]] = [
    ("TrainingJob", {"nodez": 2}, 'unknown field "spec.nodez"'),
    ("TrainingJob", {"catboost": {"label": "x"}}, 'unknown field "spec.catboost"'),
    ("TrainingJob", {"xgboost.labels": "x"}, 'unknown field "spec.xgboost.labels"'),
    ("TrainingJob", {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "hostPath"),
    ("TrainingJob", {"nodes": "two"}, "must be of type integer"),
    ("TrainingJob", {"nodes": 1.5}, "must be of type integer"),
    ("TrainingJob", {"nodes": 0}, "greater than or equal to 1"),
    ("TrainingJob", {"nodes": 4097}, "less than or equal to 4096"),
    ("TrainingJob", {"computePool": ABSENT}, "spec.computePool: Required value"),
    ("TrainingJob", {"computePool": "My Pool"}, "spec.computePool in body should match"),
    ("TrainingJob", {"data": ABSENT}, "data needs an entry named train"),
    ("TrainingJob", {"data": {}}, "data needs an entry named train"),
    ("TrainingJob", {"output": ABSENT}, "spec.output: Required value"),
    ("TrainingJob", {"output.mode": "Append"}, 'supported values: "Error", "Overwrite", "Resume"'),
    ("TrainingJob", {"data.train.parquet": {"urls": []}}, "at least 1 items"),
    ("TrainingJob", {"xgboost.label": ABSENT}, "spec.xgboost.label: Required value"),
    ("TrainingJob", {"xgboost.label": ""}, "at least 1 chars"),
    ("TrainingJob", {"xgboost.rounds": 0}, "greater than or equal to 1"),
    ("TrainingJob", {"xgboost.objective": "least squares"}, "should match"),
    ("TrainingJob", {"xgboost.features": ["a", "a"]}, "Duplicate value"),
    ("TrainingJob", {"xgboost.params": {f"p{i}": i for i in range(129)}}, "at most 128"),
    ("TrainingJob", {"xgboost.params": [1]}, "must be of type object"),
    ("TrainingJob", {"checkpoint.keep": 0}, "greater than or equal to 1"),
    ("TrainingJob", {"schedule": {}}, "spec.schedule.cron: Required value"),
    ("TrainingJob", {"schedule": {"cron": "@daily"}}, "at least 9 chars"),
    ("TrainingJob", {"schedule": {"cron": "0 2 * * *", "timeZone": "../UTC"}}, "should match"),
    ("TrainingJob", {"schedule": {"cron": "0 2 * * *", "concurrencyPolicy": "Wait"}}, "supported values"),
    ("TrainingJob", {"schedule": {"cron": "0 2 * * *", "startingDeadlineSeconds": 59}}, "equal to 60"),
    ("TrainingJob", {"schedule": {"cron": "0 2 * * *", "historyLimit": 101}}, "equal to 100"),
    ("TrainingJob", {"restartBackoffSeconds": 301}, "less than or equal to 300"),
    ("TrainingJob", {"env": [{"name": "A"}, {"name": "A"}]}, "Duplicate value"),
    ("TrainingJob", {"env": [{"name": "A=B"}]}, "should match"),
    ("TrainingJob", {"volumes": [{"name": "x", "emptyDir": {}}] * 2}, "Duplicate value"),
    ("TrainingJob", {"volumeMounts": [{"name": "data", "mountPath": "/data/"}]}, "should match"),
    ("TrainingJob", {"volumeMounts": [{"name": "data", "mountPath": "data"}]}, "should match"),
    (
        "TrainingJob",
        {"volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "../x"}]},
        "should match",
    ),
    (
        "TrainingJob",
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.containers"}}}]},
        "should match",
    ),
    ("ComputePool", {"minNodes": -1}, "greater than or equal to 0"),
    ("ComputePool", {"instance": ABSENT, "instanceFamily": "Large"}, "should match"),
    (
        "ComputePool",
        {"instance": ABSENT, "instanceFamily": "a", "backupInstanceFamilies": ["b", "b"]},
        "Duplicate value",
    ),
    (
        "ComputePool",
        {"instance": ABSENT, "instanceFamily": "a", "backupInstanceFamilies": list("bcdefg")},
        "at most 5",
    ),
    ("ComputePool", {"capacityTimeoutSeconds": 9}, "greater than or equal to 10"),
    ("ComputePool", {"instance.cpu": ABSENT}, "spec.instance.cpu: Required value"),
    ("ComputePool", {"instance.cpu": 0.5}, "must be of type"),
    ("ComputePool", {"instance.cpu": "two"}, "should match"),
    ("ComputePool", {"instance.gpus": -1}, "greater than or equal to 0"),
    ("ComputePool", {"namespaces.matchLabels": {"team": "a b"}}, "should match"),
    ("ComputePool", {"queue.limits": [{"maxNodes": 0}]}, "greater than or equal to 1"),
    ("ComputePool", {"queue.limits": [{"maxPriority": 1_000_001}]}, "less than or equal to 1000000"),
    ("ComputePool", {"queue.limits": [{"nodeSecondsPer30d": 0}]}, "greater than or equal to 1"),
    ("ComputePool", {"queue.limits": [{"maxNode": 1}]}, "unknown field"),
    ("ComputePool", {"queue.limits": [{}] * 65}, "must have at most 64 items"),
    ("ComputePool", {"maxNodes": ABSENT}, "spec.maxNodes: Required value"),
    ("ComputePool", {"maxNodes": 0}, "greater than or equal to 1"),
    ("ComputePool", {"stopAll": "now"}, "should match"),
    ("ComputePool", {"stopAll": "2026-13-01T00:00:00Z"}, "must be of type date-time"),
    ("ComputePool", {"autoSuspendSeconds": -1}, "greater than or equal to 0"),
    ("ComputePool", {"autoResume": "yes"}, "must be of type boolean"),
    ("ComputePool", {"queue.preemption": "Always"}, 'supported values: "Never", "LowerPriority"'),
    ("ComputePool", {"queue.disclose": "Nothing"}, 'supported values: "Names", "Counts"'),
    ("ComputePool", {"queue.backfillMaxWaitSeconds": -1}, "greater than or equal to 0"),
    ("ComputePool", {"queue.maxQueued": 0}, "greater than or equal to 1"),
    ("ComputePool", {"placement.strategy": "Random"}, 'supported values: "Pack", "Spread", "Any"'),
    ("ComputePool", {"runtime.imagePullPolicy": "Sometimes"}, "supported values"),
    ("ComputePool", {"runtime.allowedImages": ["registry/[ab]"]}, "should match"),
    ("ComputePool", {"network.profile": "Fast"}, 'supported values: "Pod", "Host", "RDMA", "EFA", "Custom"'),
    ("ComputePool", {"network.interface": "^docker0"}, "should match"),
    ("ComputePool", {"network.networks": ["a,b"]}, "should match"),
    ("ComputePool", {"network.sharedMemory": "100%"}, "should match"),
    ("ComputePool", {"network.ipclock": True}, 'unknown field "spec.network.ipclock"'),
    ("ComputePool", {"affinity.nodeAfinity": {}}, 'unknown field "spec.affinity.nodeAfinity"'),
    (
        "ComputePool",
        {"affinity.nodeAffinity.requiredDuringScheduling": {}},
        'unknown field "spec.affinity.nodeAffinity.requiredDuringScheduling"',
    ),
    (
        "ComputePool",
        {"podTemplate.metadata": {"name": "x"}},
        'unknown field "spec.podTemplate.metadata.name"',
    ),
    ("ComputePool", {"podTemplate.template": {}}, 'unknown field "spec.podTemplate.template"'),
    ("ComputePool", {"podTemplate.spec.containers": [{"image": "x"}]}, "containers[0].name: Required value"),
    ("ComputePool", {"runtime.image": "two words"}, "should match"),
    ("ComputePool", {"packages.indexURL": "file:///wheels"}, "should match"),
    ("ComputePool", {"packages.indexURL": "https://pypi.test/simple?token=1"}, "should match"),
    ("ComputePool", {"packages.block": ["tensor[flow]"]}, "should match"),
    ("ComputePool", {"packages.allow": ["a"] * 2}, "Duplicate value"),
    ("ComputePool", {"packages.caSecret": "No"}, "should match"),
    ("TrainingJob", {"runtime.packages": ["polars"]}, "should match"),
    ("TrainingJob", {"runtime.packages": ["polars==1.*"]}, "should match"),
    ("TrainingJob", {"runtime.packages": ["polars>=1.2"]}, "should match"),
    ("TrainingJob", {"runtime.packages": ["polars @ https://elsewhere.test/a.whl"]}, "should match"),
    ("TrainingJob", {"runtime.packages": ["--index-url==https"]}, "should match"),
    ("TrainingJob", {"runtime.requirements": {"name": "reqs"}}, "requirements.key: Required value"),
]


@pytest.mark.parametrize(("kind", "changes", "message"), SCHEMA_RULES)
def test_schema_rule(objects: CustomObjects, kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        objects.create(manifest(kind, "refused", changes))
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "volume",
    [
        {"name": "root", "hostPath": {"path": "/"}},
        {"name": "root", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    ],
)
def test_a_client_that_prunes_does_not_get_around_a_forbidden_volume(
    objects: CustomObjects, volume: dict[str, Any]
) -> None:
    changes = {"volumes": [{"name": "data", "emptyDir": {}}, volume]}
    with pytest.raises(RefusedError, match=r"refused\."):
        objects.create(manifest("TrainingJob", "refused", changes), unknown_fields="Ignore")


def test_params_keep_their_types(objects: CustomObjects) -> None:
    params = {"max_depth": 8, "eta": 0.1, "tree_method": "hist", "validate_parameters": True, "x": [1, 0]}
    made = objects.create(manifest("TrainingJob", "types", {"xgboost.params": params}))
    assert made["spec"]["xgboost"]["params"] == params


def test_what_an_overlay_takes_away_is_kept(objects: CustomObjects) -> None:
    changes = {"podTemplate.spec.securityContext": {"runAsUser": None, "fsGroup": 5}}
    wanted = manifest("ComputePool", "overlay", changes)
    try:
        for _ in range(2):
            made = objects.apply(wanted, "flux")["spec"]["podTemplate"]["spec"]
            assert made == {"securityContext": {"runAsUser": None, "fsGroup": 5}}
    finally:
        objects.delete("ComputePool", "overlay")


def test_applying_the_same_manifest_again_changes_nothing(objects: CustomObjects) -> None:
    wanted = manifest("TrainingJob", "applied", {"env": [{"name": "A", "value": "b"}]})
    first = objects.apply(wanted, "argocd")
    try:
        objects.set_status("TrainingJob", "applied", {"attempt": 1, "phase": "Running"})
        again = objects.apply(wanted, "argocd")
        assert again["spec"] == first["spec"]
        assert again["metadata"]["generation"] == first["metadata"]["generation"]
    finally:
        objects.delete("TrainingJob", "applied")


def test_the_interval_of_checkpoints_can_be_changed_by_applying_again(objects: CustomObjects) -> None:
    objects.apply(manifest("TrainingJob", "interval"), "kubectl")
    try:
        for checkpoint in ({"everyRounds": 5}, {"everySeconds": 5}, {"keep": 1}):
            made = objects.apply(manifest("TrainingJob", "interval", {"checkpoint": checkpoint}), "kubectl")
            assert made["spec"]["checkpoint"] == {"keep": 2, **checkpoint}
    finally:
        objects.delete("TrainingJob", "interval")


def sample(schema: dict[str, Any]) -> Any:
    """A value of a status schema in which every field is set."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"]
    if kind == "object" and "properties" in schema:
        return {name: sample(child) for name, child in schema["properties"].items()}
    if kind == "object":
        return {"key": sample(schema["additionalProperties"])}
    if kind == "array":
        return [sample(schema["items"])]
    if schema.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    return {"string": "Text", "integer": 1, "number": 1.5, "boolean": True}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_status_is_kept(objects: CustomObjects, kind: str) -> None:
    status = sample(object_schema(KINDS[kind])["properties"]["status"])
    objects.create(manifest(kind, "status"), keep=True)
    try:
        assert objects.set_status(kind, "status", status)["status"] == status
    finally:
        objects.delete(kind, "status")


def test_what_kubectl_shows(kubectl: Kubectl, objects: CustomObjects) -> None:
    objects.create(manifest("TrainingJob", "shown"), keep=True)
    objects.create(manifest("ComputePool", "shown"), keep=True)
    try:
        objects.set_status(
            "TrainingJob",
            "shown",
            {
                "phase": "Running",
                "nodes": {"summary": "2/2"},
                "progress": {"summary": "61% eval-rmse 17.93 40s"},
            },
        )
        status = {
            "state": "Active",
            "shape": "2 CPU, 4Gi",
            "nodes": {"summary": "4/0/4"},
            "jobs": 2,
            "queued": 1,
        }
        objects.set_status("ComputePool", "shown", status)
        header, row = kubectl.run("get", "tj", "shown").splitlines()
        assert header.split() == ["NAME", "POOL", "PHASE", "NODES", "PROGRESS", "REASON", "AGE"]
        assert row.split()[:4] == ["shown", "cpu", "Running", "2/2"]
        assert "61% eval-rmse 17.93 40s" in row
        header, row = kubectl.run("get", "cp", "shown").splitlines()
        assert header.split() == ["NAME", "STATE", "SHAPE", "NODES", "JOBS", "QUEUED", "AGE"]
        assert "Active   2 CPU, 4Gi   4/0/4   2      1" in row
        both = kubectl.run("get", "mlpools")
        assert "trainingjob.mlpools.dev/shown" in both
        assert "computepool.mlpools.dev/shown" in both
    finally:
        objects.delete("TrainingJob", "shown")
        objects.delete("ComputePool", "shown")


def test_kubectl_explains_each_field(kubectl: Kubectl) -> None:
    text = " ".join(kubectl.run("explain", "trainingjob.spec.xgboost.label").split())
    assert "Column to predict." in text
