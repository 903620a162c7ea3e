"""A cluster in memory: the API server, the controllers that make and end pods, machines, and faults.

Each actor (``World.actors``) makes one round over what it watches; a test calls them in any order, any
number of times. Pods run a program that steps in lockstep over its gang, as distributed training does:
a rank whose peer died dies of that, and rank 0 ends last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from mlpools.contract import Exit, Final
from mlpools_operator.cluster.errors import ClusterError
from mlpools_operator.domain import naming, times
from tests.support.api_server import ApiServer, Clock, Json, condition, is_terminal

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


class World(ApiServer):
    """A cluster with some machines, each with room for so many pods.

    Attributes:
        machines: by name, how many pods fit.
        down: machines whose kubelet does not answer.
        steps: what a gang does before it is done.
        images: whether an image can be pulled.
    """

    def __init__(self, clock: Clock, machines: Mapping[str, int] | None = None, steps: int = 3) -> None:
        super().__init__(clock)
        self.machines = dict(machines or {"node-a": 4, "node-b": 4})
        self.down: set[str] = set()
        self.steps = steps
        self.images = True
        self._done: dict[str, int] = {}
        self._ended: dict[str, dict[int, Json]] = {}
        self._pods_made = 0

    @property
    def actors(self) -> dict[str, Callable[[], None]]:
        """The controllers, by name."""
        return {
            "job-controller": self.control_jobs,
            "scheduler": self.schedule,
            "kubelets": self.run_pods,
            "garbage-collector": self.collect_garbage,
            "node-lifecycle": self.taint,
        }

    @property
    def pulse(self) -> tuple[int, int]:
        """Changes as long as anything happens: objects, or a step inside a pod."""
        return self.version, sum(self._done.values())

    # --- the Job controller

    def control_jobs(self) -> None:
        for job in self.list("Job"):
            pods = self.pods_of(job)
            for pod in pods:
                self._track(job, pod)
            if "deletionTimestamp" not in job["metadata"]:
                self._control(job, self.pods_of(job))

    def pods_of(self, job: Json) -> list[Json]:
        uid = job["metadata"]["uid"]
        return [pod for pod in self.list("Pod") if _owner(pod) == uid]

    def _track(self, job: Json, pod: Json) -> None:
        """Count a pod that has ended, which lets it go if it was deleted."""
        if is_terminal(pod):
            self._ended.setdefault(job["metadata"]["uid"], {}).setdefault(_index(pod), pod)
            place = _place(pod)
            self.patch(*place, lambda it: it["metadata"].pop("finalizers", None))
            if "deletionTimestamp" in pod["metadata"]:
                self.release(*place)

    def _control(self, job: Json, pods: list[Json]) -> None:
        job = self.get(*_place(job))
        if condition(job, "Complete") or condition(job, "Failed"):
            return
        ended = self._ended.get(job["metadata"]["uid"], {})
        deciding = condition(job, "SuccessCriteriaMet") or condition(job, "FailureTarget")
        deciding = deciding or self._decide(job, ended)
        living = [pod for pod in pods if not is_terminal(pod)]
        if deciding:
            for pod in living:
                if "deletionTimestamp" not in pod["metadata"]:
                    self.delete(*_place(pod))
            if not [pod for pod in self.pods_of(job) if not is_terminal(pod)]:
                final = "Complete" if deciding["type"] == "SuccessCriteriaMet" else "Failed"
                self._condition(_place(job), {**deciding, "type": final})
        else:
            for index in range(job["spec"]["completions"]):
                if index not in ended and index not in {_index(pod) for pod in living}:
                    self._make_pod(job, index)
        phases = [pod["status"]["phase"] for pod in ended.values()]
        counts = {"active": len(living), "succeeded": phases.count("Succeeded"), "failed": phases.count("Failed")}
        self.patch(*_place(job), lambda it: it.setdefault("status", {}).update(counts))

    def _decide(self, job: Json, ended: Mapping[int, Json]) -> Json:
        failed = [pod for pod in ended.values() if pod["status"]["phase"] == "Failed"]
        if failed:
            return self._condition(_place(job), _failure(failed[0]))
        if 0 in ended:
            met = {"type": "SuccessCriteriaMet", "reason": "SuccessPolicy", "message": "Matched rule at index 0"}
            return self._condition(_place(job), met)
        return {}

    def _make_pod(self, job: Json, index: int) -> None:
        template = job["spec"]["template"]
        self._pods_made += 1
        name = job["metadata"]["name"]
        made = self.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{name}-{index}-{self._pods_made:05d}",
                    "namespace": job["metadata"]["namespace"],
                    "labels": dict(template["metadata"]["labels"]),
                    "annotations": {INDEX: str(index)},
                    "finalizers": [TRACKING],
                    "ownerReferences": [
                        {
                            "apiVersion": "batch/v1",
                            "kind": "Job",
                            "name": name,
                            "uid": job["metadata"]["uid"],
                            "controller": True,
                        }
                    ],
                },
                "spec": {**template["spec"], "hostname": f"{name}-{index}"},
            }
        )
        self._set_status(made, "Pending", {})

    # --- the scheduler

    def schedule(self) -> None:
        for pod in self.list("Pod"):
            if "nodeName" in pod["spec"] or "deletionTimestamp" in pod["metadata"]:
                continue
            machine = self._room()
            if machine:
                self.patch(*_place(pod), lambda it, machine=machine: it["spec"].update(nodeName=machine))
                self._condition(_place(pod), {"type": "PodScheduled"})
            else:
                message = f"0/{len(self.machines)} nodes are available: Insufficient cpu."
                pending = {"type": "PodScheduled", "reason": "Unschedulable", "message": message}
                self._condition(_place(pod), pending, status="False")

    def _room(self) -> str:
        used = [
            pod["spec"].get("nodeName") for pod in self.list("Pod") if not is_terminal(pod)
        ]
        free = {
            name: room - used.count(name) for name, room in self.machines.items() if name not in self.down
        }
        return max((name for name in free if free[name] > 0), key=lambda name: free[name], default="")

    # --- kubelets and what runs in the pods

    def run_pods(self) -> None:
        for pod in self.list("Pod"):
            if pod["spec"].get("nodeName") in self.machines.keys() - self.down and not is_terminal(pod):
                self._run(pod)

    def _run(self, pod: Json) -> None:
        phase = pod.get("status", {}).get("phase", "Pending")
        if "deletionTimestamp" in pod["metadata"]:
            self.end_pod(pod, Exit.PREEMPTED if phase == "Running" else 137)
        elif phase == "Pending":
            self._start(pod)
        else:
            self._work(pod)

    def _start(self, pod: Json) -> None:
        if self.images:
            state = {"running": {"startedAt": times.stamp(self.clock())}}
            self._set_status(pod, "Running", state)
            self._condition(_place(pod), {"type": "Ready"})
        else:
            state = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
            self._set_status(pod, "Pending", state)

    def _work(self, pod: Json) -> None:
        """One step of a rank: all ranks have to run, and rank 0 ends last."""
        job = pod["metadata"]["ownerReferences"][0]["uid"]
        gang = [it for it in self.list("Pod") if _owner(it) == job]
        world = int(_job_size(self, pod))
        if any(it["status"]["phase"] == "Failed" for it in gang if "status" in it):
            self.end_pod(pod, Exit.PEER_LOST)
            return
        alive = [it for it in gang if it.get("status", {}).get("phase") in ("Running", "Succeeded")]
        if len(alive) < world:
            return
        done = self._done.get(job, 0)
        if _index(pod) == 0 and done < self.steps:
            self._done[job] = done + 1
        elif done >= self.steps:
            others = [it for it in gang if _index(it) != 0]
            if _index(pod) != 0 or all(is_terminal(it) for it in others):
                self.end_pod(pod, Exit.DONE)

    def end_pod(self, pod: Json, code: int, message: str = "", reason: str = "", **final: Any) -> None:
        """End a pod's container, as its program or the kernel would."""
        metadata = pod["metadata"]
        labels = metadata["labels"]
        report = Final(
            code=int(code),
            rank=_index(pod),
            attempt=int(labels[naming.ATTEMPT]),
            message=message,
            step=self._done.get(_owner(pod), 0),
            **final,
        )
        spoke = code in set(Exit) and not reason
        terminated = {
            "exitCode": int(code),
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "finishedAt": times.stamp(self.clock()),
            "startedAt": times.stamp(self.clock()),
            "message": report.encode().decode() if spoke else "",
        }
        self._set_status(pod, "Succeeded" if code == 0 else "Failed", {"terminated": terminated})
        self._condition(_place(pod), {"type": "Ready"}, status="False")
        if "deletionTimestamp" in metadata:
            with contextlib.suppress(ClusterError):
                self.release(*_place(pod))

    # --- the garbage collector and the node lifecycle controller

    def collect_garbage(self) -> None:
        uids = {item["metadata"]["uid"] for item in self._objects.values()}
        for kind in ("Job", "Service", "NetworkPolicy", "Pod"):
            for item in self.list(kind):
                owner = _owner(item)
                if owner and owner not in uids and "deletionTimestamp" not in item["metadata"]:
                    self.delete(*_place(item))
        for pod in self.list("Pod"):  # a Job that is gone holds its pods no more
            if _owner(pod) not in uids and is_terminal(pod):
                self.patch(*_place(pod), lambda it: it["metadata"].pop("finalizers", None))
                self.release(*_place(pod))

    def taint(self) -> None:
        """Evict from machines that do not answer; end what no kubelet will ever end."""
        for pod in self.list("Pod"):
            machine = pod["spec"].get("nodeName")
            if is_terminal(pod):
                continue
            if machine is None:
                if "deletionTimestamp" in pod["metadata"]:
                    self._end_without_kubelet(pod)
            elif machine not in self.machines:
                self.disrupt(pod, "DeletionByPodGC")
                self._end_without_kubelet(pod)
            elif machine in self.down and "deletionTimestamp" not in pod["metadata"]:
                self.disrupt(pod, "DeletionByTaintManager")

    def _end_without_kubelet(self, pod: Json) -> None:
        self._set_status(pod, "Failed", {})
        self.release(*_place(pod))

    # --- faults

    def pods(self, job: str, *, living: bool = True) -> list[Json]:
        """Return the pods of a TrainingJob by rank."""
        mine = [it for it in self.list("Pod") if it["metadata"]["labels"].get(naming.JOB_NAME) == job]
        return sorted((it for it in mine if not (living and is_terminal(it))), key=_index)

    def kill(self, pod: Json, code: int = 137, **how: Any) -> None:
        """End a pod's main process: by SIGKILL, or with any exit code."""
        self.end_pod(pod, code, **how)

    def out_of_memory(self, pod: Json) -> None:
        self.end_pod(pod, 137, reason="OOMKilled")

    def evict(self, pod: Json) -> None:
        """Drain: the pod gets SIGTERM and its grace."""
        self.disrupt(pod, "EvictionByEvictionAPI")

    def disrupt(self, pod: Json, reason: str) -> None:
        self._condition(_place(pod), {"type": "DisruptionTarget", "reason": reason})
        with contextlib.suppress(ClusterError):
            self.delete(*_place(pod))

    def lose(self, machine: str) -> None:
        """A machine stops answering; its pods may still run."""
        self.down.add(machine)

    def heal(self, machine: str) -> None:
        self.down.discard(machine)

    def remove(self, machine: str) -> None:
        """A machine is taken out of the cluster."""
        self.machines.pop(machine, None)
        self.down.discard(machine)

    # --- small writes

    def _condition(self, place: tuple[str, str, str], wanted: Mapping[str, str], status: str = "True") -> Json:
        def change(it: Json) -> None:
            conditions = it.setdefault("status", {}).setdefault("conditions", [])
            old = next((entry for entry in conditions if entry["type"] == wanted["type"]), None)
            if old is None:
                conditions.append({"lastTransitionTime": times.stamp(self.clock()), "status": status, **wanted})
            elif old["status"] != status:
                old.update({**wanted, "status": status, "lastTransitionTime": times.stamp(self.clock())})

        self.patch(*place, change)
        return {"status": status, **wanted}

    def _set_status(self, pod: Json, phase: str, state: Mapping[str, Any]) -> None:
        def change(it: Json) -> None:
            it.setdefault("status", {})["phase"] = phase
            if state:
                it["status"]["containerStatuses"] = [{"name": "main", "state": dict(state)}]

        self.patch(*_place(pod), change)


def _job_size(world: World, pod: Json) -> int:
    uid = _owner(pod)
    job = next((it for it in world.list("Job") if it["metadata"]["uid"] == uid), None)
    return job["spec"]["completions"] if job else 1 << 30


def _failure(pod: Mapping[str, Any]) -> Json:
    """Return the condition of a Job that failed by its podFailurePolicy, in Kubernetes' words."""
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if condition(pod, "DisruptionTarget"):
        words = f"Pod {name} has condition DisruptionTarget matching FailJob rule at index 0"
    else:
        statuses = pod["status"].get("containerStatuses", [{}])
        code = statuses[0].get("state", {}).get("terminated", {}).get("exitCode", 0)
        words = f"Container main for pod {name} failed with exit code {code} matching FailJob rule at index 1"
    return {"type": "FailureTarget", "reason": "PodFailurePolicy", "message": words}


def _owner(item: Mapping[str, Any]) -> str:
    references = item["metadata"].get("ownerReferences", ())
    return next((str(ref["uid"]) for ref in references if ref.get("controller")), "")


def _index(pod: Mapping[str, Any]) -> int:
    return int(pod["metadata"]["annotations"][INDEX])


def _place(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
