"""The configuration files of a node: pure functions of its name and folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.cluster import addresses, cgroups
from tools.cluster.base_image import IMAGE
from tools.cluster.certificates import Pair

SOCKET = Path("/run/containerd/containerd.sock")
PROXY_HEALTH_PORT = 10256
CNI_PLUGINS = Path("/usr/lib/cni")
# What a node keeps over a power cut, and the usual place at which it finds it: a kubelet makes sockets
# below its folder, whose paths may not be longer than 107 characters.
KEPT = {"kubelet": "/var/lib/kubelet", "pod-logs": "/var/log/pods"}
# What a kubelet sets for the whole machine. A node is shown files that say so already.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass(frozen=True)
class NodeFiles:
    """Where a node keeps what.

    Attributes:
        instance: Its instance's name.
        number: 1, 2, …
        state: Its instance's state folder.
    """

    instance: str
    number: int
    state: Path

    @property
    def name(self) -> str:
        """The node's name in Kubernetes."""
        return f"node{self.number}"

    @property
    def folder(self) -> Path:
        """All that is the node's own."""
        return self.state / "nodes" / self.name

    @property
    def containerd(self) -> Path:
        """Containerd's root: images and containers."""
        return self.folder / "containerd"

    @property
    def address(self) -> str:
        """Its address on the instance's bridge."""
        return addresses.node_address(self.number)

    def write(self, authority: Path, serving: Pair) -> None:
        """Write every file that its programs read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "cni").mkdir(exist_ok=True)
        network = cni_config(self.number, str(self.folder / "addresses"))
        (self.folder / "cni" / "10-pods.conflist").write_text(json.dumps(network, indent=2))
        (self.folder / "containerd.toml").write_text(containerd_config(self))
        # A pod's names are the cluster's; what the host resolves is none of its business.
        (self.folder / "resolv.conf").write_text("")
        config = kubelet_config(self, authority, serving)
        (self.folder / "kubelet.json").write_text(json.dumps(config, indent=2))


def root_script(files: NodeFiles, caches: Path) -> str:
    """A shell script that gives a node a root of its own.

    What lies on the host is there to read; what the node writes goes to memory and is gone with it,
    except for its folders in the state folder.

    Args:
        files: The node's.
        caches: The folder of the programs it runs.
    """
    root, new = files.folder / "root", files.folder / "root" / "merged"
    layers = f"lowerdir=/,upperdir={root}/upper,workdir={root}/work"
    lines = [
        f"mkdir -p {root}",
        f"mount -t tmpfs -o mode=0755 mlpools {root}",
        f"mkdir {root}/upper {root}/work {new}",
        f"mount -t overlay -o {layers} mlpools {new}",
        f"mount -t tmpfs -o mode=0755 mlpools {new}/run",
        f"mount -t tmpfs -o mode=1777 mlpools {new}/tmp",
    ]
    lines += [f"mount --rbind {kernels} {new}{kernels}" for kernels in ("/dev", "/sys", "/proc")]
    kept = {caches: caches, files.state: files.state} | {
        files.folder / name: Path(usual) for name, usual in KEPT.items()
    }
    for folder, shown in kept.items():
        lines += [f"mkdir -p {folder} {new}{shown}", f"mount --bind {folder} {new}{shown}"]
    lines += [
        f"cd {new}",
        "pivot_root . .",
        "umount -l .",
        "cd /",
        "mount --make-rshared /",
        "mkdir /run/kernel",
    ]
    for setting, value in KERNEL_SETTINGS.items():
        file = f"/run/kernel/{setting.replace('/', '.')}"
        lines.append(f"echo {value} > {file} && mount --bind {file} /proc/sys/{setting}")
    return "\n".join(["set -eu", *lines, ""])


def containerd_config(files: NodeFiles) -> str:
    """Containerd's configuration: all that it keeps lies in the node's folder."""
    return f"""\
version = 2
root = "{files.containerd}"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "{files.folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
disable_apparmor = true
# Lowering a score takes CAP_SYS_RESOURCE, which a container that runs all this may lack.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{files.folder}/cni"
"""


def kubelet_config(files: NodeFiles, authority: Path, serving: Pair) -> dict[str, Any]:
    """The kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": files.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "clusterDNS": [addresses.DNS_SERVICE],
        "clusterDomain": addresses.DNS_DOMAIN,
        "resolvConf": str(files.folder / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.path(files.instance, files.number),
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        # Images come from archives: one that is collected could not be pulled again.
        "imageGCHighThresholdPercent": 100,
    }


def kubelet_command(program: Path, files: NodeFiles, kubeconfig: Path) -> list[str | Path]:
    """How the kubelet is started."""
    return [
        program,
        f"--config={files.folder}/kubelet.json",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={KEPT['kubelet']}",
        f"--hostname-override={files.name}",
        f"--node-ip={files.address}",
    ]


def kube_proxy_command(program: Path, files: NodeFiles, kubeconfig: Path) -> list[str | Path]:
    """How kube-proxy is started: it leaves the kernel's connection tracking as the host has it."""
    untouched = ("max-per-core", "tcp-timeout-established", "tcp-timeout-close-wait")
    return [
        program,
        "--proxy-mode=nftables",
        f"--kubeconfig={kubeconfig}",
        f"--cluster-cidr={addresses.PODS}",
        f"--hostname-override={files.name}",
        "--oom-score-adj=0",
        f"--healthz-bind-address=127.0.0.1:{PROXY_HEALTH_PORT}",
        *(f"--conntrack-{name}=0" for name in untouched),
    ]


def cni_config(number: int, state: str) -> dict[str, Any]:
    """What containerd asks of the CNI plugins for each pod.

    Pods are routed, not bridged (the ptp plugin): all their traffic passes the node's forwarding,
    so Services and policies hold between two pods of one node, too.

    Args:
        number: The node's.
        state: A folder for the addresses that are given out.
    """
    ranges = [[{"subnet": addresses.pod_range(number)}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": state}
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin]}
