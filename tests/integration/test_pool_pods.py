"""Pods of every network profile, and overlays, before a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.manifests import spec
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

_POD_SECURITY = "pod-security.kubernetes.io/enforce"
PROFILES: dict[str, dict[str, Any]] = {
    "pod": {"network.interface": "eth0"},
    "host": {"network.profile": "Host"},
    "rdma": {
        "network": {
            "profile": "RDMA",
            "resources": {"rdma/hca_shared_devices_a": 1},
            "networks": ["rail-0", "fast/rail-1@net2"],
            "ipcLock": True,
        }
    },
    "efa": {
        "network": {
            "profile": "EFA",
            "resources": {"vpc.amazonaws.com/efa": 4, "hugepages-2Mi": "5120Mi"},
            "sharedMemory": "1Gi",
        }
    },
    "custom": {"network": {"profile": "Custom", "env": {"NCCL_NET": "gIB"}, "isolation": False}},
    "everything": {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]
                }
            },
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 5,
                        "podAffinityTerm": {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchLabels": {"app": "noisy"}},
                        },
                    }
                ]
            },
        },
        "placement": {"strategy": "Pack", "required": True},
        "schedulerName": "volcano",
        "podTemplate": {
            "metadata": {"labels": {"team": "ml"}},
            "spec": {
                "securityContext": {"runAsUser": None},
                "tolerations": [{"key": "ml", "operator": "Exists"}],
                "resourceClaims": [{"name": "nic", "resourceClaimTemplateName": "nics"}],
                "initContainers": [{"name": "logs", "image": "logs:1", "restartPolicy": "Always"}],
                "volumes": [{"name": "mlpools-scratch", "hostPath": {"path": "/nvme"}}],
                "containers": [
                    {
                        "name": "main",
                        "env": [{"name": "HTTPS_PROXY", "value": "proxy:1"}],
                        "resources": {"claims": [{"name": "nic"}]},
                    }
                ],
            },
        },
    },
}


def shape(bench: Bench, **changes: Any) -> None:
    """Change the bench's pool, and wait until the operator has seen it."""
    wanted = spec("ComputePool", {"maxNodes": 4, **changes})
    bench.kube.edit("ComputePool", bench.pool, [{"op": "replace", "path": "/spec", "value": wanted}])

    def seen() -> bool:
        pool = bench.kube.get("ComputePool", bench.pool)
        return bool(pool.get("status", {}).get("observedGeneration") == pool["metadata"]["generation"])

    wait_for("look at the pool", seen)


def words(job: Object) -> str:
    message: str = next(it for it in job["status"]["conditions"] if it["type"] == "Admitted")["message"]
    return message


def names(bench: Bench, kind: str) -> list[str]:
    return [item["metadata"]["name"] for item in bench.kube.list(kind, bench.namespace)]


def test_the_api_server_takes_the_pods_of_every_profile(bench: Bench) -> None:
    bench.operator().wait_ready()
    pods = {}
    for name, changes in PROFILES.items():
        shape(bench, **changes)
        bench.submit(name, nodes=1)
        (pods[name],) = bench.kubelet.pods(name, 1, 1)
        bench.kube.delete("TrainingJob", name, bench.namespace)
        wait_for("its Job's end", lambda: (bench.kubelet.collect(), names(bench, "Job") == [])[1])
    main = {name: pod["spec"]["containers"][0] for name, pod in pods.items()}
    env = {name: {it["name"]: it.get("value") for it in it["env"]} for name, it in main.items()}
    assert env["pod"]["NCCL_SOCKET_IFNAME"] == "=eth0"
    assert (pods["host"]["spec"]["hostNetwork"], pods["host"]["spec"]["dnsPolicy"]) == (
        True,
        "ClusterFirstWithHostNet",
    )
    assert [it["hostPort"] for it in main["host"]["ports"]] == [8470, 29500]
    assert main["rdma"]["resources"]["limits"]["rdma/hca_shared_devices_a"] == "1"
    assert main["rdma"]["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert pods["rdma"]["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] == "rail-0,fast/rail-1@net2"
    assert main["efa"]["resources"]["requests"]["hugepages-2Mi"] == "5Gi"
    assert env["custom"]["NCCL_NET"] == "gIB"
    everything = pods["everything"]
    assert everything["metadata"]["labels"]["team"] == "ml"
    assert set(everything["spec"]["affinity"]) == {"nodeAffinity", "podAffinity", "podAntiAffinity"}
    assert main["everything"]["resources"]["claims"] == [{"name": "nic"}]
    assert "runAsUser" not in everything["spec"]["securityContext"]
    assert all(
        it["env"][-1]["name"] in ("MLPOOLS_TASK", "HTTPS_PROXY", "JOB_COMPLETION_INDEX")
        for it in main.values()
    )


def test_a_namespace_that_takes_no_host_network_says_so(bench: Bench) -> None:
    labels = {"metadata": {"labels": {_POD_SECURITY: "restricted"}}}
    bench.kube.patch("Namespace", bench.namespace, labels)
    bench.operator().wait_ready()
    bench.submit("plain", nodes=1)
    assert len(bench.kubelet.pods("plain", 1, 1)) == 1, "Without a special network it is taken."
    shape(bench, **{"network.profile": "Host"})
    bench.submit("host", nodes=1)
    refused = bench.phase("host", "Queued")
    assert refused["status"]["reason"] == "PodsRefused"
    assert 'violates PodSecurity "restricted' in words(refused)
    assert "hostNetwork=true" in words(refused)

    def told() -> bool:
        conditions = bench.kube.get("ComputePool", bench.pool)["status"]["conditions"]
        ready = next(it["message"] for it in conditions if it["type"] == "Ready")
        return "no NetworkPolicy isolates them" in ready

    wait_for("a word of the pool", told)


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"tolerationz": []}, 'unknown field "spec.template.spec.tolerationz"'),
        (
            {"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/a"}}]},
            "may not specify more than 1 volume type",
        ),
    ],
)
def test_an_overlay_that_makes_no_pod_is_told_in_the_api_servers_words(
    bench: Bench, overlay: dict[str, Any], sentence: str
) -> None:
    operator = bench.operator().wait_ready()
    shape(bench, **{"podTemplate.spec": overlay})
    bench.submit("odd")
    refused = bench.phase("odd", "Queued")
    assert refused["status"]["reason"] == "PodsRefused"
    assert sentence in words(refused)
    assert names(bench, "Job") == []
    assert not [line for line in operator.lines() if "traceback" in line]
    shape(bench)
    bench.phase("odd", "Starting")


def test_a_pool_can_stop_isolating_its_jobs(bench: Bench) -> None:
    bench.operator().wait_ready()
    bench.submit("flights", maxRestarts=5)
    first = bench.kubelet.pods("flights", 1, 2)
    bench.kubelet.run(first)
    bench.phase("flights", "Running")
    shape(bench, **{"network.isolation": False})
    assert names(bench, "NetworkPolicy") == ["tj-flights"]
    bench.kubelet.finish(first, code=137)
    bench.kubelet.pods("flights", 2, 2)
    wait_for("end of the policy", lambda: names(bench, "NetworkPolicy") == [])
    assert "tj-flights" in names(bench, "Service")


def test_an_image_that_the_pool_does_not_take_is_told_before_the_job_queues(bench: Bench) -> None:
    bench.operator().wait_ready()
    shape(bench, **{"runtime.allowedImages": ["registry/ml/*"], "maxNodes": 2})
    bench.submit("mine", runtime={"image": "mine:1"})
    failed = bench.phase("mine", "Failed")["status"]
    assert failed["reason"] == "InvalidSpec"
    assert "does not take the image mine:1, only its own and registry/ml/*" in str(failed["conditions"])
    bench.submit("theirs", runtime={"image": "registry/ml/train:1"})
    bench.phase("theirs", "Starting")
    bench.submit("next", runtime={"image": "registry/ml/train:1"})
    bench.phase("next", "Queued")
    shape(bench, **{"runtime.allowedImages": [], "maxNodes": 2})
    waiting = wait_for(
        "word of the pool's change",
        lambda: (it := bench.job("next"))["status"]["reason"] == "PoolNotAllowed" and it,
    )
    assert waiting["status"]["phase"] == "Queued"
    shape(bench, maxNodes=4)
    bench.phase("next", "Starting")


def test_a_package_that_the_pool_does_not_take_is_told_before_the_job_queues(bench: Bench) -> None:
    bench.operator().wait_ready()
    shape(bench, **{"packages.block": ["torch*"]})
    bench.submit("vision", runtime={"packages": ["polars==1.2", "Torch.Vision==0.2"]})
    failed = bench.phase("vision", "Failed")["status"]
    assert (failed["reason"], failed.get("attempt", 0)) == ("PackageNotAllowed", 0)
    assert "does not take the package torch-vision: its packages.block has torch*" in str(
        failed["conditions"]
    )
    assert names(bench, "Job") == []


def test_pods_are_given_what_installing_needs_and_secrets_by_name_only(bench: Bench) -> None:
    bench.operator().wait_ready()
    packages = {"indexURL": "https://pypi.test/simple", "credentialsSecret": "pypi-login"}
    shape(bench, packages=packages)
    runtime = {"packages": ["polars==1.2"], "requirements": {"name": "reqs", "key": "all.txt"}}
    bench.submit("flights", nodes=1, runtime=runtime)
    (pod,) = bench.kubelet.pods("flights", 1, 1)
    (main,) = pod["spec"]["containers"]
    (volume,) = [it for it in pod["spec"]["volumes"] if it["name"] == "mlpools-packages"]
    secret, config = volume["projected"]["sources"]
    assert (secret["secret"]["name"], secret["secret"]["optional"]) == ("pypi-login", True)
    assert config["configMap"]["items"] == [{"key": "all.txt", "path": "requirements.txt"}]
    assert "/etc/mlpools/packages" in {it["mountPath"] for it in main["volumeMounts"]}
    (task,) = [it["value"] for it in main["env"] if it["name"] == "MLPOOLS_TASK"]
    assert json.loads(task)["packages"]["wanted"] == ["polars==1.2"]


@pytest.mark.parametrize(
    ("code", "phase", "reason"),
    [
        (Exit.PACKAGE_NOT_ALLOWED, "Failed", "PackageNotAllowed"),
        (Exit.PACKAGES_NOT_RESOLVED, "Failed", "PackagesNotResolved"),
        (Exit.PACKAGE_INDEX_UNAVAILABLE, "Restarting", "PackageIndexUnavailable"),
        (Exit.SECRET_MISSING, "Queued", "SecretMissing"),
    ],
)
def test_what_pods_say_of_their_packages_decides_what_follows(
    bench: Bench, code: Exit, phase: str, reason: str
) -> None:
    bench.operator().wait_ready()
    bench.submit("flights", nodes=1, runtime={"packages": ["polars==1.2"]}, restartBackoffSeconds=300)
    (pod,) = bench.kubelet.pods("flights", 1, 1)
    bench.kubelet.run([pod])
    bench.kubelet.finish([pod], Final(code, 0, message="The index has no polars."), code)
    status = bench.phase("flights", phase)["status"]
    assert reason in str(status)
    assert "The index has no polars" in str(status["conditions"])
