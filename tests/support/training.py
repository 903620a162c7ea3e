"""TrainingJobs for the end-to-end tests: made, waited for, looked at, removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition

Object = dict[str, Any]

POOL: Object = {
    "apiVersion": "mlpools.dev/v1alpha1",
    "kind": "ComputePool",
    "metadata": {"name": "tests"},
    "spec": {
        "instance": {"cpu": "500m", "memory": "1Gi"},
        "maxNodes": 2,
        "placement": {"strategy": "Spread", "required": True},
    },
}


class Training:
    """The jobs of one test, in the namespace `default`.

    Attributes:
        cluster: where they run.
        volume: the claim `flights` as a folder of this machine.
    """

    def __init__(self, cluster: Kubectl, volume: Path) -> None:
        self.cluster, self.volume = cluster, volume
        self._names: list[str] = []
        cluster.apply(json.dumps(POOL))

    def submit(self, name: str, *, nodes: int = 2, **spec: Any) -> None:
        """Apply a job on the flights; keywords replace top-level fields of its spec."""
        url = f"file:///data/models/{name}"
        full = {
            "computePool": "tests",
            "nodes": nodes,
            "xgboost": {"rounds": 20, "label": "arr_delay", "params": {"max_depth": 6, "eta": 0.3}},
            "data": {"train": {"parquet": {"url": "file:///data/flights/train/*.parquet"}}},
            "output": {"url": url},
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            **spec,
        }
        job = {
            "apiVersion": "mlpools.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": full,
        }
        self._names.append(name)
        self.cluster.apply(json.dumps(job))

    def get(self, name: str) -> Object:
        """The job as it is now."""
        job = self.cluster.get("trainingjob", name)
        assert job is not None, f"the job {name} is gone"
        return job

    def status(self, name: str) -> Object:
        """Its status, empty before the operator's first write."""
        status: Object = self.get(name).get("status") or {}
        return status

    def ended(self, name: str, *, seconds: float = 180) -> Object:
        """Wait until it is complete or failed, and return its status."""

        def look() -> Object | None:
            status = self.status(name)
            over = any(condition(status, kind).get("status") == "True" for kind in ("Complete", "Failed"))
            return status if over else None

        return wait_for(f"end of {name} (status: {self.status(name)})", look, seconds, every=0.3)

    def failure(self, name: str, *, seconds: float = 180) -> Object:
        """Wait for its end and return the condition `Failed`."""
        status = self.ended(name, seconds=seconds)
        found = condition(status, "Failed")
        assert found.get("status") == "True", f"{name} did not fail: {status}"
        return found

    def pods(self, name: str, *, attempt: int | None = None) -> list[Object]:
        """Its pods, of one attempt or of all."""
        selector = f"mlpools.dev/job-name={name}"
        selector += f",mlpools.dev/attempt={attempt}" if attempt else ""
        return self.cluster.list("pods", selector=selector)

    def output(self, name: str) -> Path:
        """The job's output as a folder of this machine."""
        return self.volume / "models" / name

    def remove(self) -> None:
        """Delete the jobs of this test."""
        for name in self._names:
            self.cluster.delete("trainingjob", name)
