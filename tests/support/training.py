"""Pools and TrainingJobs for the end-to-end tests: made, waited for, looked at, removed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition

Object = dict[str, Any]

#: A quarter of the flights: with them a start is quick, and rounds are short.
PART = {"train": {"parquet": {"url": "file:///data/flights/train/part-0.parquet"}}}


def boosting(rounds: int) -> Object:
    """Return a training of short rounds, some 20 a second on one node."""
    return {"rounds": rounds, "label": "arr_delay", "params": {"max_depth": 6, "eta": 0.01}}


#: What goes on until it is stopped.
ENDLESS = boosting(100_000)


def pool(name: str, **spec: Any) -> Object:
    """Return a ComputePool of small nodes; keywords are fields of its spec."""
    return {
        "apiVersion": "mlpools.dev/v1alpha1",
        "kind": "ComputePool",
        "metadata": {"name": name},
        "spec": {"instance": {"cpu": "500m", "memory": "1Gi"}, "maxNodes": 2, **spec},
    }


POOL = pool("tests", placement={"strategy": "Spread", "required": True})


class Training:
    """The pools and jobs of one test.

    Attributes:
        kind: of the jobs.
        cluster: where they run.
        volume: the claim `flights` as a folder of this machine.
        namespace: of the jobs.
    """

    kind = "TrainingJob"

    def __init__(self, cluster: Kubectl, volume: Path, namespace: str = "default") -> None:
        self.cluster, self.volume, self.namespace = cluster, volume, namespace
        self._names: list[str] = []
        self._pools: list[str] = []
        cluster.apply(json.dumps(POOL))

    def make_pool(self, name: str, **spec: Any) -> None:
        """Apply a pool of small nodes, which goes with the test."""
        self._pools.append(name)
        self.cluster.apply(json.dumps(pool(name, **spec)))

    def submit(self, name: str, *, nodes: int = 2, **spec: Any) -> None:
        """Apply a job on the flights; keywords replace top-level fields of its spec, None takes one away."""
        full = {
            "xgboost": {"rounds": 20, "label": "arr_delay", "params": {"max_depth": 6, "eta": 0.3}},
            "data": {"train": {"parquet": {"url": "file:///data/flights/train/*.parquet"}}},
            **spec,
        }
        self._apply(name, nodes, full)

    def _apply(self, name: str, nodes: int, spec: Object) -> None:
        """Apply a job that has the flights' volume, unless its spec says otherwise."""
        full = {
            "computePool": "tests",
            "nodes": nodes,
            "output": {"url": f"file:///data/models/{name}"},
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            **spec,
        }
        job = {
            "apiVersion": "mlpools.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": name},
            "spec": {field: value for field, value in full.items() if value is not None},
        }
        self._names.append(name)
        self.cluster.apply(json.dumps(job), namespace=self.namespace)

    def short(self, name: str, rounds: int, *, nodes: int = 1, **spec: Any) -> None:
        """Apply a job of short rounds on a part of the flights, on one node unless told otherwise."""
        self.submit(name, nodes=nodes, xgboost=boosting(rounds), data=PART, **spec)

    def endless(self, name: str, *, nodes: int = 1, **spec: Any) -> None:
        """Apply a job that trains until it is stopped."""
        self.submit(name, nodes=nodes, xgboost=ENDLESS, data=PART, **spec)

    def script(self, name: str, text: str, *, nodes: int = 1, **spec: Any) -> None:
        """Apply a job with a script out of a ConfigMap; keywords replace top-level fields of its spec."""
        self.code(name, "main.py", text)
        section = {"file": "main.py", "code": {"configMap": name}, **spec.pop("script", {})}
        self.submit(name, nodes=nodes, xgboost=None, data={}, script=section, **spec)

    def code(self, name: str, file: str, text: str) -> None:
        """Apply a ConfigMap with a file of code."""
        meta = {"name": name}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {file: text}}
        self.cluster.apply(json.dumps(config), namespace=self.namespace)

    def found(self, name: str) -> Object:
        """What a script left as `found.json`."""
        document: Object = json.loads((self.output(name) / "model" / "found.json").read_text())
        return document

    def change(self, name: str, **fields: Any) -> None:
        """Change top-level fields of a job's spec."""
        merge = json.dumps({"spec": fields})
        where = f"--namespace={self.namespace}"
        self.cluster.run("patch", self.kind, name, where, "--type=merge", "-p", merge)

    def get(self, name: str) -> Object:
        """The job as it is now."""
        job = self.cluster.get(self.kind, name, self.namespace)
        assert job is not None, f"the job {name} is gone"
        return job

    def status(self, name: str) -> Object:
        """Its status, empty before the operator's first write."""
        status: Object = self.get(name).get("status") or {}
        return status

    def until(self, name: str, *, phase: str = "", reason: str = "", seconds: float = 120) -> Object:
        """Wait until its status has that phase and that reason, where they are given; return the status."""
        last: Object = {}

        def look() -> Object | None:
            last.clear()
            last.update(self.status(name))
            fits = phase in ("", last.get("phase")) and reason in ("", last.get("reason"))
            return last if fits else None

        try:
            return wait_for(f"{phase} {reason} of {name}", look, seconds, every=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error} Its status: {last}") from None

    def trains(self, name: str, *, rounds: int = 1, seconds: float = 120) -> Object:
        """Wait until its status tells of so many finished rounds while it runs; return the status."""

        def look() -> Object | None:
            status = self.status(name)
            step = (status.get("progress") or {}).get("step", 0)
            return status if status.get("phase") == "Running" and step >= rounds else None

        return wait_for(f"round {rounds} of {name}", look, seconds, every=0.3)

    def ended(self, name: str, *, seconds: float = 180) -> Object:
        """Wait until it is complete or failed, and return its status."""

        def look() -> Object | None:
            status = self.status(name)
            over = any(condition(status, kind).get("status") == "True" for kind in ("Complete", "Failed"))
            return status if over else None

        return wait_for(f"end of {name} (status: {self.status(name)})", look, seconds, every=0.3)

    def completed(self, name: str, *, seconds: float = 180) -> Object:
        """Wait for its end, which has to be a good one, and return its status."""
        status = self.ended(name, seconds=seconds)
        assert condition(status, "Complete").get("status") == "True", f"{name} did not complete: {status}"
        return status

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
        return self.cluster.list("pods", selector=selector, namespace=self.namespace)

    def at_work(self, name: str) -> list[str]:
        """Names of its pods that have not ended."""
        ended = ("Succeeded", "Failed")
        return [it["metadata"]["name"] for it in self.pods(name) if it["status"]["phase"] not in ended]

    def output(self, name: str) -> Path:
        """The job's output as a folder of this machine."""
        return self.volume / "models" / name

    def resumed_at(self, name: str) -> int:
        """Round from which the finished attempt went on, by its result."""
        step: int = json.loads((self.output(name) / "result.json").read_text())["resumedFromStep"]
        return step

    def stopped_after(self, name: str, attempt: int) -> int:
        """The round after which an attempt stopped as it was asked to, by rank 0's log beside the result."""
        log = (self.output(name) / "logs" / f"attempt-{attempt}" / "rank-0.log").read_text()
        said = re.search(r"Stopped as asked after round (\d+), which is saved", log)
        assert said, f"The log of attempt {attempt} does not say where it stopped: {log}"
        return int(said[1])

    def first_round(self, name: str, attempt: int) -> int:
        """The first round that an attempt finished, by rank 0's log beside the result."""
        log = (self.output(name) / "logs" / f"attempt-{attempt}" / "rank-0.log").read_text()
        said = re.search(r"round (\d+) of \d+", log)
        assert said, f"The log of attempt {attempt} tells of no round: {log}"
        return int(said[1])

    def remove(self) -> None:
        """Delete the jobs and the pools of this test."""
        for name in self._names:
            self.cluster.delete(self.kind, name, namespace=self.namespace)
        for name in self._pools:
            self.cluster.delete("computepool", name)
