"""One test's part of a shared control plane."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlpools.contract.ends import Final
from tests.support.kube import Kube, Object
from tests.support.kubelet import Kubelet, predicted, succeeded
from tests.support.manifests import manifest
from tests.support.operator import Operator
from tests.support.waiting import PATIENCE, wait_for


@dataclass
class Bench:
    """One test's part of the cluster: a namespace, a pool, and the operators that it starts.

    Attributes:
        namespace: of the test.
        pool: name of the test's pool.
        kind: of the jobs that it is about.
    """

    kube: Kube
    kubelet: Kubelet
    namespace: str
    pool: str
    folder: Path
    kubeconfig: Path
    operators: list[Operator] = field(default_factory=list)
    kind: str = "TrainingJob"

    def of(self, kind: str) -> Bench:
        """Return the same place, about jobs of another kind."""
        return replace(self, kind=kind)

    def operator(self, kubeconfig: Path | None = None, **settings: str) -> Operator:
        """Start an operator for this namespace."""
        chosen = {"namespaces": self.namespace, **settings}
        operator = Operator(self.folder, kubeconfig or self.kubeconfig, **chosen)
        self.operators.append(operator)
        return operator

    def submit(self, name: str, *, nodes: int = 2, **changes: Any) -> Object:
        """Create a job in the test's pool; further arguments are fields of its spec."""
        wanted = {"computePool": self.pool, "nodes": nodes, "restartBackoffSeconds": 1, **changes}
        return self.kube.create(manifest(self.kind, name, wanted), self.namespace)

    def change(self, name: str, **spec: Any) -> None:
        """Change fields of a job's spec, as its author does."""
        self.kube.patch(self.kind, name, {"spec": spec}, self.namespace)

    def job(self, name: str) -> Object:
        """Read a job."""
        return self.kube.get(self.kind, name, self.namespace)

    def done(self) -> Final:
        """Return what rank 0 leaves behind when all went well."""
        return predicted() if self.kind == "BatchInference" else succeeded()

    def phase(self, name: str, *phases: str, seconds: float = PATIENCE) -> Object:
        """Wait until a job is in one of the phases, and return it."""

        def look() -> Object | None:
            job = self.job(name)
            return job if job.get("status", {}).get("phase") in phases else None

        return wait_for(f"{' or '.join(phases)} of {name}", look, seconds)
