"""One test's part of a shared control plane."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.kube import Kube, Object
from tests.support.kubelet import Kubelet
from tests.support.manifests import manifest
from tests.support.operator import Operator
from tests.support.waiting import wait_for


@dataclass
class Bench:
    """One test's part of the cluster: a namespace, a pool, and the operators that it starts.

    Attributes:
        namespace: of the test.
        pool: name of the test's pool.
    """

    kube: Kube
    kubelet: Kubelet
    namespace: str
    pool: str
    folder: Path
    kubeconfig: Path
    operators: list[Operator] = field(default_factory=list)

    def operator(self, kubeconfig: Path | None = None, **settings: str) -> Operator:
        """Start an operator for this namespace."""
        chosen = {"namespaces": self.namespace, **settings}
        operator = Operator(self.folder, kubeconfig or self.kubeconfig, **chosen)
        self.operators.append(operator)
        return operator

    def submit(self, name: str, *, nodes: int = 2, **changes: Any) -> Object:
        """Create a TrainingJob in the test's pool; further arguments are fields of its spec."""
        wanted = {"computePool": self.pool, "nodes": nodes, "restartBackoffSeconds": 1, **changes}
        return self.kube.create(manifest("TrainingJob", name, wanted), self.namespace)

    def job(self, name: str) -> Object:
        """Read a TrainingJob."""
        return self.kube.get("TrainingJob", name, self.namespace)

    def phase(self, name: str, *phases: str, seconds: float = 20) -> Object:
        """Wait until a job is in one of the phases, and return it."""

        def look() -> Object | None:
            job = self.job(name)
            return job if job.get("status", {}).get("phase") in phases else None

        return wait_for(f"{' or '.join(phases)} of {name}", look, seconds)
