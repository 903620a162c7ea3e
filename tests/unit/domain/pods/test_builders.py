from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.tasks import Task
from mlpools_operator.domain.pods import network
from tests.support.built import build, main, pod, variables
from tests.support.domain_values import UID, a_job
from tests.support.instances import FAMILIES
from tests.support.manifests import ABSENT
from tests.support.operator_sim import DEFAULTS


def test_an_attempt_is_a_gang_that_is_never_mended() -> None:
    spec = build({"nodes": 3})["spec"]
    assert {name: spec[name] for name in spec if name != "template"} == {
        "completionMode": "Indexed",
        "completions": 3,
        "parallelism": 3,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": "main", "operator": "NotIn", "values": [0]},
                },
            ]
        },
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
    }
    assert pod(build())["restartPolicy"] == "Never"


def test_children_are_owned_labelled_and_hashed() -> None:
    job = a_job()
    for child in (
        build(),
        network.service("TrainingJob", job, "cpu"),
        network.policy("TrainingJob", job, "cpu", DEFAULTS),
    ):
        metadata = child["metadata"]
        assert metadata["namespace"] == "team-a"
        assert [ref["uid"] for ref in metadata["ownerReferences"]] == [UID]
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "mlpools"
        assert re.fullmatch(r"[0-9a-f]{16}", metadata["annotations"]["mlpools.dev/spec-hash"])


def test_a_pod_satisfies_the_restricted_pod_security_standard() -> None:
    spec, container = pod(build()), main(build())
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()


def test_a_pod_requests_what_it_may_use() -> None:
    pool = {"instance": {"cpu": 2, "memory": "4Gi", "ephemeralStorage": "8Gi", "gpus": 1}}
    shape = {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "8Gi", "nvidia.com/gpu": "1"}
    assert main(build(pool=pool))["resources"] == {"requests": shape, "limits": shape}
    volumes = {it["name"]: it for it in pod(build(pool=pool))["volumes"]}
    assert volumes["mlpools-shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1228Mi"}
    mounts = {it["mountPath"]: it["name"] for it in main(build(pool=pool))["volumeMounts"]}
    assert mounts == {
        "/tmp": "mlpools-tmp",
        "/scratch": "mlpools-scratch",
        "/dev/shm": "mlpools-shm",
        "/cache": "mlpools-cache",
        "/data": "data",
    }


def test_a_family_gives_its_shape_and_the_pool_adds_to_what_finds_its_machines() -> None:
    own = {"key": "team", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}
    pool = {
        "instance": ABSENT,
        "instanceFamily": "gpu",
        "nodeSelector": {"zone": "a"},
        "tolerations": [own, FAMILIES["gpu"].tolerations[0].plain()],
    }
    built = build(pool=pool)
    assert main(built)["resources"]["limits"] == {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"}
    volumes = {it["name"]: it for it in pod(built)["volumes"]}
    assert volumes["mlpools-shm"]["emptyDir"]["sizeLimit"] == "2457Mi"
    assert pod(built)["nodeSelector"] == {"machine": "gpu", "zone": "a"}
    assert [it["key"] for it in pod(built)["tolerations"]][:-2] == ["team", "nvidia.com/gpu"]
    other = {**pool, "nodeSelector": {"machine": "gpu-of-ours"}}
    assert pod(build(pool=other))["nodeSelector"] == {"machine": "gpu-of-ours"}


def test_the_task_tells_every_rank_what_to_do() -> None:
    built = build({"nodes": 2, "xgboost.rounds": 50, "checkpoint": {"everyRounds": 10}}, attempt=3)
    task = Task.from_json(variables(built)["MLPOOLS_TASK"])
    assert (task.uid, task.attempt, task.nodes, task.framework) == (UID, 3, 2, "xgboost")
    assert task.coordinator == "flights-3-0.tj-flights.team-a.svc.cluster.local"
    assert pod(built)["subdomain"] == "tj-flights"
    assert task.spec["rounds"] == 50
    assert task.spec["params"] == {"max_depth": 8, "eta": 0.1, "tree_method": "hist"}
    assert task.checkpoint == {"url": "file:///data/model/checkpoints", "everyRounds": 10, "keep": 2}
    assert task.output == {"url": "file:///data/model", "mode": "Error"}
    assert task.data == {"train": {"parquet": {"url": "file:///data/train/*.parquet"}}}


@pytest.mark.parametrize(
    ("gpus", "job", "workers"),
    [(0, {}, 1), (4, {}, 4), (4, {"workersPerNode": 2}, 2), (0, {"workersPerNode": 3}, 3)],
)
def test_a_node_runs_a_worker_for_each_gpu_unless_told_otherwise(
    gpus: int, job: dict[str, int], workers: int
) -> None:
    pool = {"instance": {"cpu": 8, "memory": "32Gi", "gpus": gpus}}
    task = Task.from_json(variables(build({"nodes": 2, **job}, pool))["MLPOOLS_TASK"])
    assert (task.gpus_per_node, task.workers_per_node, task.world_size) == (gpus, workers, 2 * workers)


@pytest.mark.parametrize(("launcher", "workers"), [("none", 1), ("torchrun", 4), ("ray", 1)])
def test_of_scripts_torchrun_s_use_all_gpus_of_a_node(launcher: str, workers: int) -> None:
    script = {"file": "train.py", "launcher": launcher, "code": {"configMap": "mine"}}
    built = build(
        {"xgboost": ABSENT, "script": script}, {"instance": {"cpu": 8, "memory": "32Gi", "gpus": 4}}
    )
    assert Task.from_json(variables(built)["MLPOOLS_TASK"]).workers_per_node == workers


def _expand(value: str) -> str:
    """Expand a variable as the kubelet does: ``$$`` is ``$``, ``$(NAME)`` is that variable's value."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda it: "$" if it[0] == "$$" else "EXPANDED", value)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
def test_the_kubelet_hands_the_task_over_as_it_is(label: str) -> None:
    value = variables(build({"xgboost.label": label}))["MLPOOLS_TASK"]
    assert json.loads(_expand(value))["spec"]["label"] == label


@given(st.lists(st.text(max_size=20), min_size=2, max_size=5))
def test_what_a_job_says_of_its_variables_is_between_it_and_the_kubelet(values: list[str]) -> None:
    """One variable may stand for another above it, as in any pod, so neither text nor order is touched."""
    given_ = [{"name": f"V{number}", "value": value} for number, value in enumerate(values)]
    env = pod(build({"env": given_}))["containers"][0]["env"]
    assert [it for it in env if it["name"].startswith("V")] == given_


def test_a_dollar_in_a_path_is_not_a_variable() -> None:
    value = variables(build({"output.url": "/data/$(HOME)/$x"}))["MLPOOLS_TASK"]
    assert json.loads(_expand(value))["output"]["url"] == "/data/$(HOME)/$x"


@pytest.mark.parametrize(
    ("job", "pool", "image"),
    [("job:1", "pool:1", "job:1"), (None, "pool:1", "pool:1"), (None, None, "runtime:test")],
)
def test_the_image_is_the_jobs_or_the_pools_or_the_operators(
    job: str | None, pool: str | None, image: str
) -> None:
    built = build({"runtime": {"image": job}} if job else {}, {"runtime": {"image": pool}} if pool else {})
    assert main(built)["image"] == image


def test_a_pool_says_where_its_pods_go() -> None:
    pool = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "ml", "operator": "Exists", "effect": "NoSchedule"}],
        "runtime": {"imagePullSecrets": [{"name": "registry"}], "imagePullPolicy": "Always"},
        "lostNodeSeconds": 7,
    }
    spec = pod(build({"serviceAccountName": "trainer"}, pool))
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["serviceAccountName"] == "trainer"
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    assert [(it["key"], it.get("tolerationSeconds")) for it in spec["tolerations"]] == [
        ("ml", None),
        ("node.kubernetes.io/not-ready", 7),
        ("node.kubernetes.io/unreachable", 7),
    ]


@pytest.mark.parametrize("required", [True, False])
def test_placement_concerns_the_pods_of_one_attempt(required: bool) -> None:
    own = {"mlpools.dev/job-uid": UID, "mlpools.dev/attempt": "1"}
    packed = pod(build(pool={"placement": {"strategy": "Pack", "topologyKey": "rack", "required": required}}))
    (term,) = next(iter(packed["affinity"]["podAffinity"].values()))
    term = term if required else term["podAffinityTerm"]
    assert term == {"topologyKey": "rack", "labelSelector": {"matchLabels": own}}
    spread = pod(build(pool={"placement": {"strategy": "Spread", "required": required}}))
    (constraint,) = spread["topologySpreadConstraints"]
    assert constraint["labelSelector"] == {"matchLabels": own}
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["whenUnsatisfiable"] == ("DoNotSchedule" if required else "ScheduleAnyway")
    assert not {"affinity", "topologySpreadConstraints"} & pod(build()).keys()


def test_only_its_own_pods_and_the_operators_probe_get_in() -> None:
    spec = network.policy("TrainingJob", a_job(), "cpu", DEFAULTS)["spec"]
    own = {"matchLabels": {"mlpools.dev/job-uid": UID}}
    assert spec["podSelector"] == own
    assert spec["policyTypes"] == ["Ingress"]
    peers, probe = spec["ingress"]
    assert peers == {"from": [{"podSelector": own}]}
    assert probe["ports"] == [{"port": 8470, "protocol": "TCP"}]
    assert probe["from"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mlpools-system"}},
            "podSelector": {"matchLabels": dict(DEFAULTS.operator_labels)},
        }
    ]


def test_names_of_pods_resolve_before_they_are_ready() -> None:
    spec = network.service("TrainingJob", a_job(), "cpu")["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert spec["selector"] == {"mlpools.dev/job-uid": UID}
