"""What is measured on: a control plane, pods that run nothing, and an operator under its own account."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.support.kube import ApiError, Kube, Object
from tests.support.operator import Operator
from tests.support.waiting import wait_for
from tools.cluster.controlplane import ControlPlane
from tools.record import ROOT

_SYSTEM, _ACCOUNT = "mlpools-system", "mlpools-operator"
_CLIENTS = 6
_RBAC = {"apiVersion": "rbac.authorization.k8s.io/v1"}


class Cluster:
    """What the measurement does to a cluster.

    Attributes:
        kube: its administrator.
    """

    def __init__(self, control: ControlPlane, folder: Path) -> None:
        self._control, self._folder = control, folder
        self.kube = Kube(control.server, control.ca, control.token)
        self._own = threading.local()

    def prepare(self, namespaces: Iterable[str]) -> None:
        """Make our kinds, the operator's account, and the namespaces of the jobs."""
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            for crd in yaml.safe_load_all(path.read_text()):
                self.kube.apply(crd)
        wait_for("served kinds", self._served)
        for name in (_SYSTEM, *namespaces):
            self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        account = {"name": _ACCOUNT, "namespace": _SYSTEM}
        self.kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        # An account like any other's, so that the API server's priority and fairness holds for it.
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        subjects = [{"kind": "ServiceAccount", **account}]
        binding = {"kind": "ClusterRoleBinding", "metadata": {"name": _ACCOUNT}, "roleRef": role}
        self.kube.apply({**_RBAC, **binding, "subjects": subjects})
        for name in namespaces:
            find = functools.partial(self.kube.find, "ServiceAccount", "default", name)
            wait_for("service accounts", find, 60)

    def operator(self) -> Operator:
        """Start an operator as it ships, but for its port and its log's level."""
        kubeconfig = self._control.kubeconfig_for(_ACCOUNT, _SYSTEM)
        shipped = {"log_level": "INFO", "progress_seconds": "10", "probe_seconds": "2", "look_seconds": "15"}
        return Operator(self._folder, kubeconfig, leader_election="true", **shipped)

    def each(self, act: Callable[[Kube, Object], object], items: Iterable[Object]) -> None:
        """Do something with each item, some at a time; raise what went wrong."""
        with ThreadPoolExecutor(_CLIENTS) as pool:
            list(pool.map(lambda item: act(self._client(), item), items))

    def _client(self) -> Kube:
        if not hasattr(self._own, "kube"):
            self._own.kube = Kube(self._control.server, self._control.ca, self._control.token)
        kube: Kube = self._own.kube
        return kube

    def _served(self) -> bool:
        try:
            return all(isinstance(self.kube.list(kind), list) for kind in ("ComputePool", "TrainingJob"))
        except ApiError:
            return False


@contextmanager
def cluster(folder: Path, namespaces: Iterable[str]) -> Iterator[Cluster]:
    """Run a cluster while the block runs."""
    control = ControlPlane(folder / "plane", controller_manager=True)
    control.start()
    made = Cluster(control, folder)
    with (folder / "pods.log").open("w") as log:
        pods = subprocess.Popen(
            [sys.executable, "-m", "bench.scale.pods", control.server, str(control.ca)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
        )
        assert pods.stdin is not None
        pods.stdin.write(f"{control.token}\n")
        pods.stdin.flush()
    try:
        made.prepare(list(namespaces))
        yield made
        assert pods.poll() is None, (folder / "pods.log").read_text()[-2000:]
    finally:
        pods.kill()
        pods.wait()
        control.stop()
