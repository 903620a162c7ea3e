"""An instance: one real cluster, in one set of namespaces, under one name.

    dev = Instance("dev")
    dev.up(archives=[…])       # or what is missing of it
    dev.kill_node(2); dev.restart_node(2)
    dev.down()                 # nothing is left

From the host it is reached at its API server only (`kubectl port-forward` and `exec` work through
it). Its pods and Services have the same addresses in every instance, and no route leads there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tools import caller
from tools.binaries import binary
from tools.cluster import addresses, cgroups, dns, image_store, network, storage
from tools.cluster.addresses import Site, Uplink
from tools.cluster.certificates import Leaf
from tools.cluster.controlplane import ControlPlane
from tools.cluster.namespaces import PID_1, Entrance, entrance, new
from tools.cluster.node import Node
from tools.cluster.node_files import NodeFiles
from tools.cluster.processes import Process, Processes
from tools.kubectl import Kubectl
from tools.locks import locked
from tools.steps import ToolError, step, wait_for

NODES = 2
KUBELET_ATTEMPTS = 5


def default_state(name: str) -> Path:
    """Where an instance of that name keeps its state."""
    home = Path(os.environ.get("XDG_STATE_HOME") or caller.home() / ".local" / "state")
    return home / "mlpools" / name


class Instance:
    """One cluster on this machine.

    Attributes:
        name: Its name: a few lower-case letters, digits and dashes.
        state: Its state folder.
        control: Its control plane.
        nodes: Its nodes, node1 first.
        kubeconfig: The administrator's kubeconfig.
    """

    def __init__(
        self,
        name: str = "dev",
        state: Path | None = None,
        *,
        audit: bool = False,
        fsync: bool = True,
        die_with_parent: bool = False,
    ) -> None:
        """Describe it; nothing is started yet.

        Args:
            name: Two instances of one machine may not share it.
            state: Its state folder; by default in the user's state home.
            audit: Write who asked the API server for what to `logs/audit.jsonl`.
            fsync: Survive a crash of the machine, at the price of slower writes.
            die_with_parent: Have the kernel kill it when the calling thread ends; for tests.
        """
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?", name):
            raise ToolError(f"{name!r} cannot name a cluster: 1 to 11 lower-case letters, digits and dashes.")
        self.name = name
        self.state = (state or default_state(name)).absolute()
        self.kubeconfig = self.state / "kubeconfig"
        self._audit, self._fsync = audit, fsync
        self._processes = Processes(self.state)
        self._namespace_processes = Processes(self.state, die_with_parent)

    @cached_property
    def control(self) -> ControlPlane:
        """Its control plane; known once `up` has given it an address."""
        uplink = self._known_uplink()
        site = Site("0.0.0.0", addresses.BRIDGE, uplink.instance, addresses.API_PORT)
        return ControlPlane(
            self.state,
            controller_manager=True,
            scheduler=True,
            site=site,
            inside=self.inside,
            audit=self._audit,
            fsync=self._fsync,
            die_with_parent=False,
        )

    @property
    def nodes(self) -> list[Node]:
        """Its nodes."""
        numbers = range(1, NODES + 1)
        files = [NodeFiles(self.name, number, self.state) for number in numbers]
        return [Node(each, NODES, self._processes, self.control) for each in files]

    @property
    def gateway(self) -> str:
        """This machine's address on its uplink.

        Raises:
            ToolError: it does not run.
        """
        return self._known_uplink().host

    @property
    def inside(self) -> Entrance:
        """The way into its namespaces.

        Raises:
            ToolError: it does not run.
        """
        return self._processes.inside("instance", f"The cluster {self.name}")

    def up(self, archives: Sequence[Path] = ()) -> None:
        """Bring up whatever is missing of it; return when all of it is ready.

        Args:
            archives: OCI archives whose images its nodes shall have.

        Raises:
            ToolError: something did not become ready; with its log's path.
        """
        with locked(caller.make_folder(self.state)):
            self.state.chmod(0o755)
            if self._pid_1() is None:
                self._open()
            if self.problem() is not None:
                self._repair(archives)
                caller.hand_over(self.kubeconfig)
            for node in self.nodes:
                for archive in archives:
                    node.import_archive(archive)

    def down(self) -> None:
        """Remove it: processes, network, cgroups, state."""
        if not self.state.exists():
            return
        with locked(self.state):
            self._clear()
            subprocess.run(["rm", "-rf", "--one-file-system", str(self.state)], check=True)

    def problem(self) -> str | None:
        """What is wrong with it, in one sentence; None when all of it is up and ready."""
        if self._pid_1() is None:
            return "it does not run"
        if reason := self.control.problem():
            return reason
        for program in ("coredns", "local-path-provisioner"):
            if self._processes.find(program) is None:
                return f"{program} does not run"
        return next((reason for node in self.nodes if (reason := node.problem() or node.not_ready())), None)

    def import_archive(self, archive: Path) -> None:
        """Give all its nodes the images of an OCI archive."""
        with locked(self.state):
            for node in self.nodes:
                node.import_archive(archive)

    def kill_node(self, number: int) -> None:
        """Cut the power of a node, by its number."""
        self.nodes[number - 1].kill()

    def restart_node(self, number: int) -> None:
        """Start a node that was killed, and wait until it is ready."""
        node = self.nodes[number - 1]
        node.start(self.inside)
        self._wait_for(node)

    def kill(self) -> None:
        """Cut the power of all of it: what a crash of the machine leaves is left."""
        process = self._pid_1()
        if process is not None:
            process.kill()

    def _pid_1(self) -> Process | None:
        return self._processes.find("instance")

    def _uplink(self) -> Uplink | None:
        path = self.state / "uplink"
        return Uplink.of(path.read_text()) if path.exists() else None

    def _known_uplink(self) -> Uplink:
        uplink = self._uplink()
        if uplink is None:
            raise ToolError(f"There is no cluster {self.name}; `python -m tools.cluster up` makes it.")
        return uplink

    def _open(self) -> None:
        """Make the namespaces, and the address at which the host reaches them."""
        self._clear()
        pid = self._namespace_processes.start("instance", PID_1, inside=new()).pid
        with locked(Path("/run")):  # two instances that start together must not choose the same address
            uplink = addresses.free_uplink(addresses.host_routes())
            (self.state / "uplink").write_text(str(uplink.network))
            network.connect_instance(self.name, uplink, pid, entrance(pid))
        self.__dict__.pop("control", None)  # it has another address now

    def _clear(self) -> None:
        """Remove what a run of this name left outside its state folder."""
        self.kill()
        network.disconnect_instance(self.name, self._uplink())
        cgroups.remove(self.name)

    def _repair(self, archives: Sequence[Path]) -> None:
        new_roots = [node.files.containerd for node in self.nodes if not node.files.containerd.exists()]
        if new_roots:
            image_store.plant_images(archives, new_roots)
        with step("starting the control plane"):
            self.control.start()
            self._add_ons()
        with step(f"starting {NODES} nodes"):
            for node in self.nodes:
                node.start(self.inside)
            for node in self.nodes:
                self._wait_for(node)

    def _add_ons(self) -> None:
        pki, volumes = self.control.authority.folder, self.state / "storage"
        manifests = [*dns.manifests(), *storage.manifests(volumes)]
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        Kubectl(self.kubeconfig).run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=items)
        coredns = self.control.client_kubeconfig(Leaf("coredns", "coredns"))
        (self.state / "Corefile").write_text(dns.corefile(coredns))
        self._run("coredns", [binary("coredns"), f"-conf={self.state / 'Corefile'}"])
        # It makes pods that write to the host's folders: no narrower right would mean less.
        provisioner = self.control.client_kubeconfig(
            Leaf("local-path-provisioner", "storage", "system:masters")
        )
        (pki / "local-path.json").write_text(json.dumps(storage.config(volumes)))
        (pki / "helper-pod.json").write_text(json.dumps(storage.helper_pod()))
        program = binary("local-path-provisioner")
        command = storage.command(program, provisioner, pki / "local-path.json", pki / "helper-pod.json")
        self._run("local-path-provisioner", command)

    def _run(self, name: str, command: Sequence[str | Path]) -> None:
        if self._processes.find(name) is None:
            self._processes.start(name, command, inside=self.inside)

    def _wait_for(self, node: Node) -> None:
        """Wait for a node; a kubelet that finds containerd not ready yet ends, and is started again."""
        attempts = iter(range(KUBELET_ATTEMPTS))

        def reason() -> str | None:
            stopped = node.problem()
            if stopped is None:
                return node.not_ready()
            if next(attempts, None) is None:
                raise ToolError(f"{stopped} (logs: {self.state / 'logs'})")
            node.start(self.inside)
            return stopped

        wait_for(node.name, reason, seconds=90)
