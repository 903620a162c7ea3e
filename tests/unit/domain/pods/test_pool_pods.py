"""What a pool's fields make of a job's pods."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InvalidSpec, parse
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import scheduling
from mlpools_operator.domain.pool import families
from tests.support.built import build, main, pod, variables
from tests.support.domain_values import a_pool
from tests.support.operator_sim import DEFAULTS

LOST = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "cache"}}}


def scheduled(**pool: Any) -> Object:
    """The fields that jobs and placeholders of a pool share."""
    spec = parse("ComputePool", a_pool(**pool).spec)
    return scheduling.fields(spec, families.find(spec, families.order(spec)[0], DEFAULTS.families))


def test_a_job_wins_over_its_pools_network_but_not_over_the_contract() -> None:
    env = [
        {"name": "NCCL_DEBUG", "value": "INFO"},
        {"name": "NCCL_IB_HCA", "value": "=mlx5_1"},
        {"name": "PYTHONUNBUFFERED", "value": "0"},
    ]
    pool = {"network.env": {"NCCL_IB_HCA": "=mlx5_0", "COST": "$(5)", "NCCL_DEBUG": "TRACE"}}
    names = [it["name"] for it in main(build({"env": env}, pool))["env"]]
    assert len(names) == len(set(names))
    assert set(names[-6:]) == {
        *("PYTHONUNBUFFERED", "MLPOOLS_POD_IP", "MLPOOLS_TASK"),
        *("MLPOOLS_CACHE", "MLPOOLS_CACHE_BYTES", "MLPOOLS_EPHEMERAL_BYTES"),
    }
    values = variables(build({"env": env}, pool))
    assert (values["NCCL_DEBUG"], values["NCCL_IB_HCA"], values["PYTHONUNBUFFERED"]) == (
        "INFO",
        "=mlx5_1",
        "1",
    )
    assert values["COST"] == "$$(5)", "The kubelet would look for a variable of that name."
    assert values["MLPOOLS_POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_a_pod_on_its_machines_network_keeps_the_next_one_off() -> None:
    built = build(pool={"network.profile": "Host"})
    assert (pod(built)["hostNetwork"], pod(built)["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    ports = [(it["name"], it["containerPort"], it["hostPort"]) for it in main(built)["ports"]]
    assert ports == [("status", 8470, 8470), ("coordinator", 29500, 29500)]
    assert pod(built)["subdomain"] == "tj-flights"


def test_devices_come_beside_the_shape_and_networks_as_an_annotation() -> None:
    pool = {
        "network": {
            "profile": "RDMA",
            "resources": {"rdma/ib": 2},
            "networks": ["rail-0"],
            "sharedMemory": "1Gi",
        }
    }
    built = build(pool=pool)
    wanted = {"cpu": "2", "memory": "4Gi", "rdma/ib": "2"}
    assert main(built)["resources"] == {"requests": wanted, "limits": wanted}
    template = built["spec"]["template"]
    assert template["metadata"]["annotations"] == {"k8s.v1.cni.cncf.io/networks": "rail-0"}
    shared = next(it for it in pod(built)["volumes"] if it["name"] == "mlpools-shm")
    assert shared["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert not {"runAsUser", "runAsNonRoot"} & main(built)["securityContext"].keys()


def test_memory_is_locked_as_the_only_user_who_may() -> None:
    assert main(build(pool={"network.ipcLock": True}))["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]},
        "runAsUser": 0,
        "runAsNonRoot": False,
    }


def test_an_attempt_remembers_that_nothing_isolates_it() -> None:
    def remembered(**pool: Any) -> str | None:
        value: str | None = build(pool=pool)["metadata"]["annotations"].get("mlpools.dev/isolation")
        return value

    assert remembered() is None
    assert remembered(**{"network.isolation": False}) == "false"
    assert remembered(**{"network.profile": "Host"}) == "false"


def test_a_pool_says_which_machines_and_who_finds_them() -> None:
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}
    spec = pod(
        build(
            pool={
                "affinity": affinity,
                "placement": {"strategy": "Pack", "required": True},
                "runtimeClassName": "nvidia",
                "schedulerName": "volcano",
                "priorityClassName": "batch",
            }
        )
    )
    terms = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms[0] == TERM
    assert terms[1]["topologyKey"] == "kubernetes.io/hostname"
    assert (spec["runtimeClassName"], spec["schedulerName"], spec["priorityClassName"]) == (
        "nvidia",
        "volcano",
        "batch",
    )


def test_placeholders_lie_where_jobs_can() -> None:
    pool = {
        "nodeSelector": {"disk": "ssd"},
        "schedulerName": "volcano",
        "podTemplate.spec": {
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "ml", "operator": "Exists"}],
            "affinity": {
                "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}
            },
            "volumes": [{"name": "certs", "configMap": {"name": "certs"}}],
        },
    }
    fields = scheduled(**pool)
    assert fields["nodeSelector"] == {"disk": "ssd", "zone": "a"}
    assert [it["key"] for it in fields["tolerations"]] == [*LOST, "ml"]
    assert "volumes" not in fields
    assert fields == {name: pod(build(pool=pool))[name] for name in fields}


def test_an_overlay_is_merged_last() -> None:
    template = {
        "metadata": {"labels": {"team": "ml"}, "annotations": {"k8s.v1.cni.cncf.io/networks": "other"}},
        "spec": {
            "securityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
            "initContainers": [{"name": "logs", "image": "logs:1", "restartPolicy": "Always"}],
            "volumes": [{"name": "mlpools-scratch", "hostPath": {"path": "/nvme"}}],
            "containers": [{"name": "main", "env": [{"name": "HTTPS_PROXY", "value": "proxy:1"}]}],
        },
    }
    job = {"env": [{"name": "HTTPS_PROXY", "value": "mine:1"}]}
    built = build(job, {"podTemplate": template, "network.networks": ["rail-0"]})
    metadata = built["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "ml"
    assert metadata["labels"]["mlpools.dev/attempt"] == "1"
    assert metadata["annotations"] == {"k8s.v1.cni.cncf.io/networks": "other"}
    assert "team" not in built["metadata"]["labels"], "The Job is ours, its pods are the administrator's too."
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod(built)["securityContext"].keys()
    assert pod(built)["securityContext"]["runAsNonRoot"] is True
    volumes = {it["name"]: it for it in pod(built)["volumes"]}
    assert volumes["mlpools-scratch"] == {"name": "mlpools-scratch", "hostPath": {"path": "/nvme"}}
    assert volumes["data"] == {"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}
    [logs] = pod(built)["initContainers"]
    assert (logs["name"], logs["image"], logs["restartPolicy"]) == ("logs", "logs:1", "Always")
    assert variables(built)["HTTPS_PROXY"] == "proxy:1"


def test_init_containers_say_why_they_fail_as_they_wish_or_by_their_log() -> None:
    wishes = [{}, {"terminationMessagePolicy": "File"}]
    firsts = [{"name": f"check-{at}", "image": "check:1", **wish} for at, wish in enumerate(wishes)]
    built = build(pool={"podTemplate": {"spec": {"initContainers": firsts}}})
    policies = [it["terminationMessagePolicy"] for it in pod(built)["initContainers"]]
    assert policies == ["FallbackToLogsOnError", "File"]


_WORDS = st.sampled_from(
    ["main", "data", "mlpools-tmp", "MLPOOLS_TASK", "JOB_COMPLETION_INDEX", "Always", "/data", "x"]
)
_ENTRIES = st.fixed_dictionaries(
    {"name": _WORDS},
    optional={
        "value": _WORDS,
        "image": _WORDS,
        "command": st.lists(_WORDS, max_size=2),
        "terminationMessagePath": _WORDS,
        "mountPath": _WORDS,
        "env": st.none() | st.lists(st.fixed_dictionaries({"name": _WORDS, "value": _WORDS}), max_size=3),
        "resources": st.none()
        | st.dictionaries(st.sampled_from(["limits", "requests", "claims"]), st.just({}), max_size=2),
        "securityContext": st.none() | st.dictionaries(_WORDS, _WORDS, max_size=2),
    },
)
_LISTS = st.lists(_ENTRIES, max_size=3) | st.none() | _WORDS
OVERLAYS = st.fixed_dictionaries(
    {},
    optional={
        "containers": st.lists(_ENTRIES.map(lambda it: {**it, "name": "main"}), max_size=2) | _LISTS,
        "initContainers": _LISTS,
        "volumes": _LISTS,
        "tolerations": _LISTS,
        "securityContext": st.none() | st.dictionaries(_WORDS, _WORDS, max_size=2),
        "restartPolicy": _WORDS,
        "subdomain": st.none() | _WORDS,
        "nodeSelector": st.none() | st.dictionaries(_WORDS, _WORDS, max_size=2),
        "dnsPolicy": _WORDS,
    },
)


def _contract(built: Object) -> Object:
    """What operator, kubelet and supervisor rely on."""
    container, values = main(built), variables(built)
    of_container = ("name", "image", "command", "terminationMessagePath", "terminationMessagePolicy")
    shape = container["resources"]  # claims to devices may come beside it
    return {
        "labels": built["spec"]["template"]["metadata"]["labels"],
        "pod": {
            name: pod(built)[name] for name in ("restartPolicy", "subdomain", "terminationGracePeriodSeconds")
        },
        "container": {name: container[name] for name in of_container},
        "shape": (shape["requests"], shape["limits"]),
        "env": {name: values[name] for name in ("MLPOOLS_TASK", "MLPOOLS_POD_IP", "PYTHONUNBUFFERED")},
        "rank": "JOB_COMPLETION_INDEX" in values,
    }


@given(OVERLAYS)
@example({"containers": [{"name": "main", "resources": {"claims": [{"name": "gpu"}]}}]})
def test_no_overlay_that_is_taken_breaks_the_contract(spec: Object) -> None:
    try:
        built = build(pool={"podTemplate.spec": spec})
    except InvalidSpec:
        assume(False)
    assert _contract(built) == _contract(build())


def test_an_overlay_that_would_break_it_is_the_pools_mistake() -> None:
    with pytest.raises(
        InvalidSpec, match=r"podTemplate\.spec\.restartPolicy: podTemplate cannot set restartPolicy"
    ):
        _parse({"podTemplate.spec": {"restartPolicy": "OnFailure"}})
    with pytest.raises(InvalidSpec, match="another one would keep the pod running"):
        _parse({"podTemplate.spec": {"containers": [{"name": "logs"}]}})


@pytest.mark.parametrize(
    "containers",
    [
        None,
        "main",
        [{"name": "main", "env": None}],
        [{"name": "main", "resources": None}],
        [{"name": "main", "env": [{"name": "A"}], "resources": "none"}],
    ],
)
def test_an_overlay_cannot_take_the_contract_away(containers: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.podTemplate\.spec"):
        _parse({"podTemplate.spec": {"containers": containers}})


def _parse(changes: Object) -> ComputePoolSpec:
    return parse("ComputePool", a_pool(**changes).spec)


def test_a_pod_has_a_cache_of_its_own_unless_the_pool_gives_a_volume() -> None:
    for cache, volume in (
        ({}, {"emptyDir": {"sizeLimit": "10Gi"}}),
        ({"size": "500Gi"}, {"emptyDir": {"sizeLimit": "500Gi"}}),
        ({"volume": {"hostPath": {"path": "/nvme/cache"}}}, {"hostPath": {"path": "/nvme/cache"}}),
        (
            {"volume": {"persistentVolumeClaim": {"claimName": "cache"}}},
            {"persistentVolumeClaim": {"claimName": "cache"}},
        ),
    ):
        built = build(pool={"cache": cache})
        volumes = {it["name"]: it for it in pod(built)["volumes"]}
        assert volumes["mlpools-cache"] == {"name": "mlpools-cache", **volume}
        assert {"name": "mlpools-cache", "mountPath": "/cache"} in main(built)["volumeMounts"]


def test_a_pod_knows_how_much_it_may_keep() -> None:
    values = variables(build(pool={"cache": {"size": "1Gi"}}))
    assert (values["MLPOOLS_CACHE"], values["MLPOOLS_CACHE_BYTES"]) == ("/cache", str(2**30))
    assert values["MLPOOLS_EPHEMERAL_BYTES"] == {"resourceFieldRef": {"resource": "limits.ephemeral-storage"}}
