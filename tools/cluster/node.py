"""A node: containerd, kubelet and kube-proxy in namespaces of their own."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from tools.binaries import binary
from tools.cluster import addresses, base_image, cgroups, network, node_files
from tools.cluster.certificates import Leaf
from tools.cluster.controlplane import ControlPlane
from tools.cluster.image_store import ImageStore
from tools.cluster.namespaces import PID_1, Entrance, entrance, new
from tools.cluster.node_files import NodeFiles
from tools.cluster.processes import Process, Processes
from tools.steps import ToolError, cache_dir, last_line, wait_for

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
PROGRAMS = ("containerd", "kubelet", "kube-proxy")


class Node:
    """One node of an instance; what already runs is used, not started twice."""

    def __init__(self, files: NodeFiles, count: int, processes: Processes, control: ControlPlane) -> None:
        """Describe it; nothing is started yet.

        Args:
            files: Where it keeps what.
            count: How many nodes the instance has.
            processes: The instance's programs.
            control: The instance's control plane.
        """
        self.files = files
        self._count, self._processes, self._control = count, processes, control

    @property
    def name(self) -> str:
        """Its name in Kubernetes."""
        return self.files.name

    @property
    def inside(self) -> Entrance:
        """The way into its namespaces.

        Raises:
            ToolError: it does not run.
        """
        return self._processes.inside(self.name, self.name)

    def start(self, outer: Entrance) -> None:
        """Start what does not run; return as soon as containerd answers."""
        if self._pid_1() is None:
            self._boot(outer)
        folder, kubeconfigs = self.files.folder, self._kubeconfigs()
        self._run("containerd", ["containerd", f"--config={folder}/containerd.toml"])
        self._wait_for_containerd()
        kubelet = node_files.kubelet_command(binary("kubelet"), self.files, kubeconfigs["kubelet"])
        self._run("kubelet", kubelet)
        proxy = node_files.kube_proxy_command(binary("kube-proxy"), self.files, kubeconfigs["kube-proxy"])
        self._run("kube-proxy", proxy)

    def kill(self) -> None:
        """Cut its power: the kernel kills whatever runs in it."""
        process = self._pid_1()
        if process is not None:
            process.kill()

    def problem(self) -> str | None:
        """Which of its programs does not run, and its last words."""
        if self._pid_1() is None:
            return f"{self.name} is not up"
        for program in PROGRAMS:
            if self._processes.find(f"{self.name}-{program}") is None:
                log = self._processes.log(f"{self.name}-{program}")
                words = last_line(log) if log.exists() else "it was not started"
                return f"{program} of {self.name} does not run: {words}"
        return None

    def not_ready(self) -> str | None:
        """Why pods cannot run on it yet; None when they can.

        That it says so is not enough: Services and names are tried.
        """
        kubelet = self._processes.find(f"{self.name}-kubelet")
        if kubelet is None:
            return f"the kubelet of {self.name} does not run"
        try:
            if reason := self._unreported(since=kubelet.started_at):
                return reason
            tool, name = base_image.busybox(), f"kubernetes.default.svc.{addresses.DNS_DOMAIN}"
            self.inside.run(tool, "wget", "-qO-", f"http://127.0.0.1:{node_files.PROXY_HEALTH_PORT}/healthz")
            self.inside.run(tool, "nslookup", name, addresses.DNS_SERVICE)
        except (OSError, ToolError) as error:
            return str(error)
        return None

    def _unreported(self, since: float) -> str | None:
        """Whether the API server has heard from this kubelet that the node is ready.

        What it remembers of an earlier life of the node does not count. A new node's first word is its
        condition, that of one which comes back is its lease.
        """
        node = self._control.api.object(f"/api/v1/nodes/{self.name}")
        ready = {each["type"]: each for each in node["status"].get("conditions", [])}.get("Ready")
        if ready is None or ready["status"] != "True":
            return ready["message"] if ready else f"{self.name} has no conditions yet"
        if _epoch(ready["lastHeartbeatTime"]) >= int(since):  # whole seconds
            return None
        lease = self._control.api.object(f"{LEASES}/{self.name}")
        return None if _epoch(lease["spec"]["renewTime"]) >= since else f"{self.name} has not reported"

    def import_archive(self, archive: Path) -> None:
        """Give its containerd the images of an OCI archive, unless it has them."""
        ImageStore(self.files.containerd).load(archive, node_files.SOCKET, self.inside)

    def _pid_1(self) -> Process | None:
        return self._processes.find(self.name)

    def _boot(self, outer: Entrance) -> None:
        leaf = Leaf(
            f"{self.name}-serving",
            f"system:node:{self.name}",
            "system:nodes",
            (self.name, self.files.address),
        )
        self.files.write(self._control.ca, self._control.authority.issue(leaf))
        cgroups.make(self.files.instance, self.files.number)
        pid = self._processes.start(self.name, PID_1, inside=new(outer)).pid
        network.connect_node(self.files.number, self._count, pid, outer, entrance(pid))
        entrance(pid).run("sh", stdin=node_files.root_script(self.files, cache_dir()))

    def _kubeconfigs(self) -> dict[str, Path]:
        client = Leaf(self.name, f"system:node:{self.name}", "system:nodes")
        proxy = Leaf("kube-proxy", "system:kube-proxy")
        return {
            "kubelet": self._control.client_kubeconfig(client),
            "kube-proxy": self._control.client_kubeconfig(proxy),
        }

    def _run(self, program: str, command: list[str | Path]) -> None:
        name = f"{self.name}-{program}"
        if self._processes.find(name) is None:
            self._processes.start(name, command, inside=self.inside)

    def _wait_for_containerd(self) -> None:
        name = f"{self.name}-containerd"

        def reason() -> str | None:
            if self._processes.find(name) is None:
                raise self._processes.failure(name)
            try:
                self.inside.run("ctr", f"--address={node_files.SOCKET}", "version")
            except ToolError as error:
                return str(error)
            return None

        wait_for(f"containerd of {self.name}", reason, seconds=30)


def _epoch(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
