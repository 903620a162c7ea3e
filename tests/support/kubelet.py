"""Plays the kubelet and the scheduler: pods get a machine, start, and end as a test wants."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from mlpools.contract.ends import Final
from tests.support.kube import ApiError, Kube, Object
from tests.support.waiting import wait_for

_RANK = "batch.kubernetes.io/job-completion-index"


class Kubelet:
    """The pods of one namespace."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace

    def pods(self, job: str, attempt: int, nodes: int) -> list[Object]:
        """Return the pods of an attempt by rank, as soon as all are there."""

        def look() -> list[Object] | None:
            found = self.there(job, attempt)
            return found if len(found) >= nodes else None

        return wait_for(f"{nodes} pods of {job}, attempt {attempt}", look)

    def there(self, job: str, attempt: int) -> list[Object]:
        """Return the pods of an attempt that there are now, by rank."""
        selector = f"mlpools.dev/job-name={job},mlpools.dev/attempt={attempt}"
        found = self._kube.list("Pod", self._namespace, selector)
        return sorted((pod for pod in found if "deletionTimestamp" not in pod["metadata"]), key=rank_of)

    def place(self, pods: Sequence[Object]) -> None:
        """Find a machine for each pod that has none."""
        for pod in pods:
            if not pod["spec"].get("nodeName"):
                self._bind(pod, f"node-{rank_of(pod)}")

    def run(self, pods: Sequence[Object], address: str = "127.0.0.1") -> None:
        """Start the pods' containers: all are running and ready."""
        for pod in pods:
            self.start(pod, f"node-{rank_of(pod)}", address)

    def start(self, pod: Object, node: str, address: str = "127.0.0.1") -> None:
        """Start one pod's container, on a machine of that name if it has none yet."""
        if not pod["spec"].get("nodeName"):
            self._bind(pod, node)
        self._write(pod, running(_now(), address))

    def finish(
        self, pods: Sequence[Object], final: Final | None = None, code: int = 0, reason: str = ""
    ) -> None:
        """End the pods' containers; the rank that the final report is of leaves it behind.

        Where all goes well rank 0 ends last: what is left after it is told to end.
        """
        for pod in pods if code else sorted(pods, key=rank_of, reverse=True):
            words = final.to_json() if final and rank_of(pod) == final.rank else ""
            self._write(pod, ended(_now(), code, words, reason))

    def fail_init(self, pod: Object, name: str, code: int, words: str) -> None:
        """End one of the pod's init containers in failure: the container that it was for never starts."""
        terminated = {"exitCode": code, "reason": "Error", "message": words, "finishedAt": _now()}
        waiting = {"waiting": {"reason": "PodInitializing"}}
        first = {**_container({"terminated": terminated}, ready=False), "name": name}
        main = _container(waiting, ready=False)
        if not pod["spec"].get("nodeName"):
            self._bind(pod, f"node-{rank_of(pod)}")
        status = {"phase": "Failed", "initContainerStatuses": [first], "containerStatuses": [main]}
        self._write(pod, status)

    def crash_init(self, pod: Object, name: str, code: int, words: str) -> None:
        """End a sidecar in failure, as whose start is tried again and again."""
        waiting = _container({"waiting": {"reason": "CrashLoopBackOff"}}, ready=False)
        last = {"terminated": {"exitCode": code, "reason": "Error", "message": words, "finishedAt": _now()}}
        first = {**waiting, "name": name, "restartCount": 3, "lastState": last}
        main = _container({"waiting": {"reason": "PodInitializing"}}, ready=False)
        if not pod["spec"].get("nodeName"):
            self._bind(pod, f"node-{rank_of(pod)}")
        status = {"phase": "Pending", "initContainerStatuses": [first], "containerStatuses": [main]}
        self._write(pod, status)

    def terminate(self, final: Final) -> None:
        """End every pod that is being deleted with a last report, and let it go."""
        going = self._going()  # one look: a pod that is told to end after it must not go without last words
        for pod in going:
            if pod["status"]["phase"] in ("Pending", "Running"):
                with contextlib.suppress(ApiError):  # it went by itself
                    self._write(pod, ended(_now(), final.code, final.to_json()))
        self._let_go(going)

    def collect(self) -> None:
        """Let every pod that is being deleted go, as a kubelet does once its containers have ended."""
        self._let_go(self._going())

    def _going(self) -> list[Object]:
        return [
            pod for pod in self._kube.list("Pod", self._namespace) if "deletionTimestamp" in pod["metadata"]
        ]

    def _let_go(self, pods: Sequence[Object]) -> None:
        for pod in pods:
            self._kube.delete("Pod", pod["metadata"]["name"], self._namespace, grace=0)

    def _bind(self, pod: Object, node: str) -> None:
        name = pod["metadata"]["name"]
        self._kube.request(
            "POST",
            f"/api/v1/namespaces/{self._namespace}/pods/{name}/binding",
            {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}},
        )

    def _write(self, pod: Object, status: Object) -> None:
        self._kube.patch("Pod", pod["metadata"]["name"], {"status": status}, self._namespace, "status")


def rank_of(pod: Object) -> int:
    """Return the node rank of a pod; 0 for one that no Job made."""
    return int(pod["metadata"].get("annotations", {}).get(_RANK, 0))


def succeeded(rounds: int = 10) -> Final:
    """Return what rank 0 leaves behind when all went well."""
    return Final(
        code=0,
        rank=0,
        step=rounds,
        metrics={"eval-rmse": 17.9},
        outputs={"modelURL": "file:///data/model/model.ubj"},
    )


def predicted(shards: int = 8, rows: int = 1000) -> Final:
    """Return what rank 0 of a batch inference leaves behind when all went well."""
    return Final(
        code=0,
        rank=0,
        shards={"total": shards, "done": shards, "failed": 0},
        rows={"total": rows, "done": rows, "failed": 0},
        outputs={
            "outputURL": "file:///data/predictions",
            "manifestURL": "file:///data/predictions/_SUCCESS",
            "logsURL": "file:///data/predictions/_logs",
        },
    )


def running(now: str, address: str = "127.0.0.1") -> Object:
    """Return the status of a pod whose container runs and is ready."""
    conditions = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in conditions],
        "containerStatuses": [_container({"running": {"startedAt": now}}, ready=True)],
    }


def ended(now: str, code: int, words: str = "", reason: str = "") -> Object:
    """Return the status of a pod whose container has ended and left some words behind."""
    terminated = {
        "exitCode": code,
        "reason": reason or ("Error" if code else "Completed"),
        "message": words,
        "startedAt": now,
        "finishedAt": now,
    }
    return {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": [_container({"terminated": terminated}, ready=False)],
    }


def _container(state: Object, *, ready: bool) -> Object:
    status: dict[str, Any] = {"name": "main", "image": "x", "imageID": "x", "restartCount": 0}
    return {**status, "ready": ready, "started": ready, "state": state}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
