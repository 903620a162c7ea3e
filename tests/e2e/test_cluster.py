"""The local cluster itself: two instances side by side, power cuts, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tools.cluster.base_image import IMAGE
from tools.cluster.cgroups import hierarchies
from tools.cluster.instance import Instance
from tools.cluster.network import host_device
from tools.cluster.node_files import KERNEL_SETTINGS
from tools.cluster.processes import Process
from tools.kubectl import Kubectl
from tools.steps import ToolError, wait_for

HOST_FOLDERS = (
    "/etc/cni/net.d",
    "/opt/cni",
    "/run/containerd",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
# Two pods on two nodes over one shared volume; each answers with its name.
PAIR = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "pair"},
    "spec": {
        "completions": 2,
        "parallelism": 2,
        "completionMode": "Indexed",
        "template": {
            "metadata": {"labels": {"app": "pair"}},
            "spec": {
                "subdomain": "pair",
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
                "affinity": {
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"app": "pair"}},
                            }
                        ]
                    }
                },
                "containers": [
                    {
                        "name": "main",
                        "image": IMAGE,
                        "command": [
                            "sh",
                            "-c",
                            "echo started $HOSTNAME; echo $HOSTNAME > /shared/$HOSTNAME; "
                            "mkdir /tmp/www; echo $HOSTNAME > /tmp/www/index.html; "
                            "exec httpd -f -p 8080 -h /tmp/www",
                        ],
                        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
                    }
                ],
                "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
            },
        },
    },
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "shared"},
    "spec": {
        "storageClassName": "shared",
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
}
SERVICES = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": "pair"}, "ports": [{"port": 80, "targetPort": 8080}], **spec},
    }
    for name, spec in {"pair": {"clusterIP": "None"}, "balanced": {}}.items()
]


def make(suffix: str, state: Path) -> Instance:
    return Instance(f"t{os.getpid()}{suffix}", state, fsync=False, die_with_parent=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Instance, Instance]]:
    """Two clusters, each up and ready."""
    both = tuple(make(suffix, tmp_path_factory.mktemp("cluster")) for suffix in "ab")
    try:
        for instance in both:
            instance.up()
        yield both[0], both[1]
    finally:
        for instance in both:
            instance.down()


@pytest.fixture(scope="module")
def workload(pair: tuple[Instance, Instance]) -> list[dict[str, Any]]:
    """Pods of the first cluster, running: `pair-0` and `pair-1`."""
    kubectl = Kubectl(pair[0].kubeconfig)
    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": [CLAIM, *SERVICES, PAIR]}))
    return running(kubectl)


def running(kubectl: Kubectl) -> list[dict[str, Any]]:
    """The two pods of the Job, once both run, in the order of their index."""
    found: list[dict[str, Any]] = []

    def reason() -> str | None:
        pods = kubectl.list("pods", selector="app=pair")
        found[:] = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        return None if len(found) == 2 else str([pod["status"] for pod in pods])

    wait_for("the two pods", reason, seconds=60)
    return sorted(found, key=lambda pod: pod["spec"]["hostname"])


def execute(kubectl: Kubectl, pod: dict[str, Any], script: str) -> str:
    return kubectl.run("exec", pod["metadata"]["name"], "--", "sh", "-c", script)


@pytest.mark.e2e(seconds=45)
def test_pods_on_two_nodes_reach_each_other(
    pair: tuple[Instance, Instance], workload: list[dict[str, Any]]
) -> None:
    kubectl, (first, second) = Kubectl(pair[0].kubeconfig), workload
    assert {pod["spec"]["nodeName"] for pod in workload} == {"node1", "node2"}

    def unheard(asking: dict[str, Any], other: str) -> str | None:
        """A container runs before its server listens and before its name is in the DNS."""
        url = f"http://{other}.pair.default.svc.cluster.local:8080"
        try:
            answer = execute(kubectl, asking, f"timeout 5 wget -qO- {url}").strip()
        except ToolError as error:
            return str(error)
        return None if answer == other else answer

    for asking, other in ((first, "pair-1"), (second, "pair-0")):
        wait_for(f"an answer of {other}", partial(unheard, asking, other), seconds=15)

    def one_sided() -> str | None:
        ask = "for i in $(seq 8); do timeout 5 wget -qO- http://balanced; done; true"
        answers = execute(kubectl, first, ask)
        return None if set(answers.split()) == {"pair-0", "pair-1"} else answers

    wait_for("a Service of two pods", one_sided, seconds=15)
    assert kubectl.run("logs", first["metadata"]["name"]).strip() == "started pair-0"


@pytest.mark.e2e(seconds=5)
def test_a_shared_volume_is_one_folder_on_both_nodes(
    pair: tuple[Instance, Instance], workload: list[dict[str, Any]]
) -> None:
    kubectl = Kubectl(pair[0].kubeconfig)
    for pod in workload:
        assert execute(kubectl, pod, "ls /shared").split() == ["pair-0", "pair-1"]
    (folder,) = (pair[0].state / "storage" / "shared").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["pair-0", "pair-1"]


@pytest.mark.e2e(seconds=5)
def test_a_name_that_does_not_exist_is_denied_at_once_and_not_remembered(
    pair: tuple[Instance, Instance], workload: list[dict[str, Any]]
) -> None:
    kubectl, asking = Kubectl(pair[0].kubeconfig), workload[0]
    ask = "nslookup late.default.svc.cluster.local 10.96.0.10"
    with pytest.raises(ToolError):
        execute(kubectl, asking, ask)
    late = {**SERVICES[1], "metadata": {"name": "late"}}
    kubectl.apply(json.dumps(late))

    def reason() -> str | None:
        try:
            execute(kubectl, asking, ask)
        except ToolError as error:
            return str(error)
        return None

    wait_for("the name", reason, seconds=3)


@pytest.mark.e2e(seconds=10)
def test_a_node_s_power_is_cut_and_it_comes_back(pair: tuple[Instance, Instance]) -> None:
    instance = pair[1]
    kubectl = Kubectl(instance.kubeconfig)
    killed = datetime.now(UTC)
    instance.kill_node(2)
    assert instance.problem() == "node2 is not up"
    with suppress(ToolError):  # a slow kernel leaves its device; here one stands for it, where it was quick
        instance.inside.run("ip", "link", "add", "node2", "type", "bridge")
    instance.restart_node(2)
    assert instance.problem() is None
    lease = kubectl.get("lease", "node2", "kube-node-lease")
    assert lease is not None
    assert datetime.fromisoformat(lease["spec"]["renewTime"]) > killed
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "after"},
        "spec": {
            "nodeName": "node2",
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": IMAGE, "command": ["true"]}],
        },
    }
    kubectl.apply(json.dumps(pod))
    kubectl.run("wait", "pod/after", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")


@pytest.mark.e2e(seconds=20)
def test_up_repairs_what_died_and_leaves_the_rest(pair: tuple[Instance, Instance]) -> None:
    instance = pair[1]
    before = programs(instance)
    killed = {"kube-apiserver", "coredns", "node1-kubelet"}
    for name in killed:
        Process(**before[name]).kill()
    instance.up()
    assert instance.problem() is None
    after = programs(instance)
    assert {name for name in before if before[name] != after[name]} == killed


@pytest.mark.e2e(seconds=25)
def test_one_of_two_is_killed_and_the_other_unharmed(
    pair: tuple[Instance, Instance], workload: list[dict[str, Any]]
) -> None:
    alive, killed = pair
    Kubectl(killed.kubeconfig).run("create", "configmap", "kept", "--from-literal=key=value")
    before = programs(alive)
    Process(**programs(killed)["instance"]).kill()
    assert killed.problem() == "it does not run"
    assert alive.problem() is None
    assert programs(alive) == before
    assert restarts(alive) == {pod["metadata"]["name"]: 0 for pod in workload}
    killed.up()
    assert killed.problem() is None
    kept = Kubectl(killed.kubeconfig).get("configmap", "kept")
    assert kept is not None
    assert kept["data"] == {"key": "value"}
    assert alive.problem() is None


@pytest.mark.e2e(seconds=5)
def test_a_second_up_changes_nothing(pair: tuple[Instance, Instance]) -> None:
    before = programs(pair[1])
    pair[1].up()
    assert programs(pair[1]) == before


@pytest.mark.e2e(seconds=5)
def test_a_name_that_another_state_folder_uses_is_refused(
    pair: tuple[Instance, Instance], tmp_path: Path
) -> None:
    impostor = Instance(pair[0].name, tmp_path / "other", fsync=False, die_with_parent=True)
    with pytest.raises(ToolError, match=f"Another cluster named {pair[0].name} runs"):
        impostor.up()
    with pytest.raises(ToolError, match=f"Another cluster named {pair[0].name} runs"):
        impostor.down()
    assert pair[0].problem() is None


@pytest.mark.e2e(seconds=20)
def test_down_leaves_nothing_and_the_machine_is_as_before(tmp_path: Path) -> None:
    before = machine()
    instance = make("c", tmp_path / "cluster")
    try:
        instance.up()
        own = [Process(**process) for process in programs(instance).values()]
        assert host_device(instance.name) in traces(instance)
        assert machine() == before
    finally:
        instance.down()
    assert not instance.state.exists()
    assert not any(process.alive for process in own)
    assert traces(instance) == set()
    assert machine() == before


@pytest.mark.e2e(seconds=20)
def test_a_test_s_cluster_dies_with_the_test(tmp_path: Path) -> None:
    instance = make("d", tmp_path / "cluster")
    script = (
        "import signal; from pathlib import Path; from tools.cluster.instance import Instance\n"
        f"instance = Instance({instance.name!r}, Path({str(instance.state)!r}), die_with_parent=True)\n"
        "instance.up()\n"
        "print('up', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            assert any(line == "up\n" for line in parent.stdout)
            own = [Process(**process) for process in programs(instance).values()]
            parent.kill()

            def reason() -> str | None:
                return "it runs" if any(process.alive for process in own) else None

            wait_for("its end", reason, seconds=10)
        finally:
            parent.kill()
            instance.down()


def programs(instance: Instance) -> dict[str, dict[str, int]]:
    """What an instance runs: names, pids, start times."""
    records = (instance.state / "run").glob("*.json")
    return {record.stem: json.loads(record.read_text()) for record in records}


def restarts(instance: Instance) -> dict[str, int]:
    """How often each pod of the workload was restarted."""
    pods = running(Kubectl(instance.kubeconfig))
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}


def traces(instance: Instance) -> set[str]:
    """What an instance has on the machine, outside its state folder."""
    devices = [path.name for path in Path("/sys/class/net").iterdir()]
    groups = [str(made) for folder in hierarchies() for made in folder.iterdir()]
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = {name for name in (*devices, *groups) if name.endswith(f"mlp-{instance.name}")}
    return found | {mount for mount in mounts if mount.startswith(str(instance.state))}


def machine() -> dict[str, object]:
    """What no cluster may change on the machine: settings, firewall, the usual folders of its programs."""
    settings = [Path("/proc/sys", name) for name in (*KERNEL_SETTINGS, "net/ipv4/ip_forward")]
    folders = [Path(name) for name in HOST_FOLDERS]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    return {
        "settings": {path: path.read_text() for path in settings},
        "folders": {path: sorted(path.iterdir()) if path.exists() else None for path in folders},
        "tables": tables.stdout,
    }
