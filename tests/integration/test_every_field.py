"""Every field of the API in a real API server: kept as it is written, and made into pods that are let in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.all_specs import SPECS
from tests.support.bench import Bench
from tests.support.custom_objects import CustomObjects
from tests.support.every_field import JOBS, POOLS, contains
from tests.support.every_field_of_inference import INFERENCES
from tests.support.every_field_of_notebooks import NOTEBOOKS
from tests.support.kube import Object
from tests.support.manifests import manifest, spec
from tools.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.integration

FRAMEWORKS = ("xgboost", "lightgbm", "pytorch", "script")


@pytest.mark.usefixtures("kube")
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in SPECS for name in SPECS[kind]])
def test_each_is_kept_as_it_is_written(control_plane: ControlPlane, kind: str, name: str) -> None:
    wanted = manifest(kind, "every-field", SPECS[kind][name])
    assert contains(CustomObjects(control_plane).create(wanted)["spec"], wanted["spec"])


def main_of(pod: Object) -> Object:
    (container,) = pod["spec"]["containers"]
    found: Object = container
    return found


def variables(pod: Object) -> dict[str, Any]:
    return {it["name"]: it for it in main_of(pod)["env"]}


def test_what_a_job_says_reaches_its_pods(bench: Bench) -> None:
    bench.kube.patch("ComputePool", bench.pool, {"spec": {"maxNodes": 2 * len(JOBS)}})
    bench.operator().wait_ready()
    jobs = {name: changes for name, changes in JOBS.items() if "schedule" not in changes}
    for name, changes in jobs.items():
        bench.submit(name, **{"nodes": 1, "restartBackoffSeconds": 10, **changes})
    for name, changes in jobs.items():
        bench.phase(name, "Starting")
        said = spec("TrainingJob", changes)
        for pod in bench.kubelet.pods(name, 1, said.get("nodes", 1)):
            task = json.loads(variables(pod)["MLPOOLS_TASK"]["value"])
            (section,) = (said[it] for it in FRAMEWORKS if it in said)
            for field, value in (("spec", section), ("data", said["data"]), ("output", said["output"])):
                assert contains(task[field], value), (name, field)
            there = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
            assert all(contains(there[volume["name"]], volume) for volume in said["volumes"]), name
    everything = JOBS["xgboost"]
    pod = bench.kubelet.pods("xgboost", 1, 2)[0]
    task = json.loads(variables(pod)["MLPOOLS_TASK"]["value"])
    assert (task["workersPerNode"], task["hangTimeoutSeconds"]) == (2, 60)
    assert contains(task["checkpoint"], everything["checkpoint"])
    assert task["packages"]["wanted"] == ["polars==1.2"]
    assert all(contains(variables(pod)[it["name"]], it) for it in everything["env"])
    main = main_of(pod)
    assert main["envFrom"] == everything["envFrom"]
    assert main["image"] == "registry/ml/train:1"
    mounts = {it["mountPath"]: it for it in main["volumeMounts"]}
    assert all(contains(mounts[it["mountPath"]], it) for it in everything["volumeMounts"])
    assert pod["spec"]["serviceAccountName"] == "default"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 30


def test_what_a_batch_inference_says_reaches_its_pods(bench: Bench) -> None:
    score = bench.of("BatchInference")
    inferences = {name: changes for name, changes in INFERENCES.items() if "schedule" not in changes}
    bench.kube.patch("ComputePool", bench.pool, {"spec": {"maxNodes": 2 * len(inferences)}})
    bench.operator().wait_ready()
    for name, changes in inferences.items():
        score.submit(name, **{"nodes": 1, "restartBackoffSeconds": 10, **changes})
    for name, changes in inferences.items():
        said = spec("BatchInference", changes)
        for pod in score.kubelet.pods(name, 1, said.get("nodes", 1)):
            task = json.loads(variables(pod)["MLPOOLS_TASK"]["value"])
            there = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
            assert all(contains(there[volume["name"]], volume) for volume in said["volumes"]), name
            _check_task(name, task, said)
    pod = score.kubelet.pods("parquet", 1, 2)[0]
    task = json.loads(variables(pod)["MLPOOLS_TASK"]["value"])
    assert (task["framework"], task["nodes"], task["workersPerNode"]) == ("inference", 2, 2)
    assert (task["hangTimeoutSeconds"], task["gracePeriodSeconds"]) == (60, 30)
    assert task["packages"]["wanted"] == ["polars==1.2"]
    main, everything = main_of(pod), INFERENCES["parquet"]
    assert all(contains(variables(pod)[it["name"]], it) for it in everything["env"])
    assert (main["envFrom"], main["image"]) == (everything["envFrom"], "registry/ml/train:1")


def _check_task(name: str, task: Object, said: Object) -> None:
    """Check that a pod is told all that is said of the work."""
    model, rows, output = dict(said["model"]), dict(said["input"]), dict(said["output"])
    brings = model.pop("code", None)
    of_the_model = {field: rows.pop(field) for field in ("features", "partitionBy") if field in rows}
    numbers = ("batchRows", "shardRows", "maxShardFailures", "onError")
    section = {"model": model, **of_the_model, **{field: said[field] for field in numbers if field in said}}
    assert contains(task["spec"], section), name
    assert contains(task["data"], {"input": rows}), name
    assert contains(task["output"], output | ({"keep": "all"} if output.get("keep") == ["*"] else {})), name
    assert bool(task.get("code")) == (brings is not None), name


def test_what_a_notebook_says_reaches_its_pod(bench: Bench) -> None:
    notebooks, said = bench.of("NotebookRuntime"), NOTEBOOKS["server"]
    bench.operator().wait_ready()
    document = manifest("NotebookRuntime", "alice", {"computePool": bench.pool, **said})
    bench.kube.create(document, bench.namespace)
    (pod,) = notebooks.kubelet.pods("alice", 1, 1)
    main, template = main_of(pod), pod["spec"]
    task = json.loads(variables(pod)["MLPOOLS_NOTEBOOK"]["value"])
    assert (task["command"], task["port"]) == ([*said["command"], *said["args"]], said["port"])
    assert (task["cpuPercent"], task["gpuPercent"]) == (10, 20)
    assert task["packages"]["wanted"] == ["polars==1.2"]
    assert all(contains(variables(pod)[it["name"]], it) for it in said["env"])
    assert (main["envFrom"], main["image"]) == (said["envFrom"], "registry/ml/train:1")
    mounts = {it["mountPath"]: it for it in main["volumeMounts"]}
    assert all(contains(mounts[it["mountPath"]], it) for it in said["volumeMounts"])
    security = template["securityContext"]
    assert (security["runAsUser"], security["fsGroup"]) == (2000, 3000)
    assert template["serviceAccountName"] == "default"
    there = {volume["name"]: volume for volume in template["volumes"]}
    assert there["mlpools-token"]["secret"]["secretName"] == "door"
    claim = bench.kube.get("PersistentVolumeClaim", "nb-alice-workspace", bench.namespace)
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert claim["metadata"]["ownerReferences"]


def test_what_a_pool_says_reaches_its_pods(either: Bench) -> None:
    runtime_class = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runsc"}
    either.kube.apply({**runtime_class, "metadata": {"name": "gvisor"}})
    said = spec("ComputePool", POOLS["machines"])
    operations = [{"op": "replace", "path": "/spec", "value": said}]
    either.kube.edit("ComputePool", either.pool, operations)
    either.operator().wait_ready()
    either.submit("flights", runtime={"packages": ["polars==1.2"]})
    pod, _ = either.kubelet.pods("flights", 1, 2)
    template = pod["spec"]
    for field in ("nodeSelector", "affinity", "runtimeClassName", "schedulerName", "priorityClassName"):
        assert contains(template[field], _without_placement(field, said[field])), field
    assert template["imagePullSecrets"] == said["runtime"]["imagePullSecrets"]
    tolerated = template["tolerations"]
    assert said["tolerations"][0] in tolerated
    lost = [it for it in tolerated if it.get("key", "").startswith("node.kubernetes.io/")]
    assert {it["tolerationSeconds"] for it in lost} == {5}
    assert pod["metadata"]["labels"]["team"] == "ml"
    assert contains(
        pod["metadata"]["annotations"], {"note": "ours", "k8s.v1.cni.cncf.io/networks": "fast/rail-0@net1"}
    )
    there = {it["name"]: it for it in template["volumes"]}
    assert there["mlpools-cache"]["hostPath"]["path"] == "/nvme/cache"
    assert there["mlpools-shm"]["emptyDir"]["sizeLimit"] == "1Gi"
    assert "more" in there
    main = main_of(pod)
    assert (main["image"], main["imagePullPolicy"]) == (said["runtime"]["image"], "IfNotPresent")
    wanted = {"cpu": "1500m", "memory": "8Gi", "ephemeral-storage": "20Gi", "amd.com/gpu": "1"}
    assert contains(main["resources"]["limits"], {**wanted, "rdma/hca_shared_devices_a": "1"})
    assert main["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
    assert contains(variables(pod), {"HTTPS_PROXY": {"value": "proxy:1"}, "NCCL_DEBUG": {"value": "INFO"}})
    assert variables(pod)["NCCL_SOCKET_IFNAME"]["value"] == "=eth0"
    task = json.loads(variables(pod)["MLPOOLS_TASK"]["value"])
    measures = {"minimum": 0.5, "timeoutSeconds": 30, "gpus": 1}
    assert task.get("fabric", {}) == (measures if either.kind == "TrainingJob" else {}), (
        "the others have no collective"
    )
    rules = said["packages"]
    assert contains(
        task["packages"], {"allow": rules["allow"], "block": rules["block"], "indexUrl": rules["indexURL"]}
    )
    assert either.kube.list("NetworkPolicy", either.namespace) == []


def _without_placement(field: str, value: Any) -> Any:
    """Leave out what placement adds to: the terms that pods of one job have about each other."""
    return {"nodeAffinity": value["nodeAffinity"]} if field == "affinity" else value
