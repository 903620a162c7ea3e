"""A cluster in memory: the API server, the controllers that make and end pods, machines, and faults.

Each actor (``World.actors``) makes one round over what it watches; a test calls them in any order, any
number of times. Pods run a program that steps in lockstep over its gang, as distributed training does:
a rank whose peer died dies of that, and rank 0 ends last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from mlpools.contract.ends import Exit, Final
from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.cluster.errors import Conflict, NotFound
from mlpools_operator.cluster.kinds import CHILDREN
from mlpools_operator.domain import naming, times
from tests.support.api_server import ApiServer, Clock, Json, is_terminal, owner_of, place_of
from tests.support.job_controller import JobController, index_of
from tests.support.scheduler import Scheduler
from tests.support.set_controller import SetController

_KILLED = 137


class World(ApiServer):
    """A cluster with some machines, each with room for so many pods.

    Attributes:
        machines: by name, how many pods fit.
        down: machines whose kubelet does not answer.
        words: of the scheduler about a pod without a machine; empty for a lack of cpu.
        labels: of machines, by name; one that is not in it has none.
        steps: what a gang does before it is done.
        images: whether an image can be pulled.
    """

    def __init__(self, clock: Clock, machines: Mapping[str, int] | None = None, steps: int = 3) -> None:
        super().__init__(clock)
        self.machines = dict(machines or {"node-a": 4, "node-b": 4})
        self.down: set[str] = set()
        self.words = ""
        self.labels: dict[str, dict[str, str]] = {}
        self.steps = steps
        self.images = True
        self._done: dict[str, int] = {}
        self._jobs = JobController(self)
        self._sets = SetController(self)
        self.scheduler = Scheduler(self)

    @property
    def actors(self) -> dict[str, Callable[[], None]]:
        """The controllers, by name."""
        return {
            "job-controller": self._jobs.act,
            "set-controller": self._sets.act,
            "scheduler": self.scheduler.act,
            "kubelets": self.run_pods,
            "garbage-collector": self.collect_garbage,
            "node-lifecycle": self.clear_machines,
        }

    @property
    def pulse(self) -> tuple[int, int]:
        """Changes as long as anything happens: to objects, or inside a pod."""
        return self.version, sum(self._done.values())

    # Kubelets, and what runs in the pods.

    def run_pods(self) -> None:
        up = self.machines.keys() - self.down
        for pod in self.list("Pod"):
            if pod["spec"].get("nodeName") not in up:
                continue
            if is_terminal(pod):  # told before; now its volumes are unmounted, and it may go
                self.release(*place_of(pod))
            else:
                self._run(pod)

    def _run(self, pod: Json) -> None:
        phase = pod["status"]["phase"]
        if is_placeholder(pod):
            self._set_status(pod, "Running", {"running": {}})
        elif "deletionTimestamp" in pod["metadata"]:
            saved = {"checkpoint_step": self._done.get(owner_of(pod), 0)} if phase == "Running" else {}
            self.kill(pod, Exit.PREEMPTED if phase == "Running" else _KILLED, **saved)
        elif phase == "Running":
            self._work(pod)
        elif self.images:
            started = {"running": {"startedAt": times.stamp(self.clock())}}
            self._set_status(pod, "Running", started)
            self.set_condition(pod, "Ready")
        else:
            waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nowhere:1"'}
            self._set_status(pod, "Pending", {"waiting": waiting})

    def _work(self, pod: Json) -> None:
        """Do one step of a rank; in a gang all ranks have to run, and rank 0 ends last."""
        uid = owner_of(pod)
        if pod["metadata"]["labels"][naming.KIND] == "NotebookRuntime":
            return  # it serves, whether anybody uses it or not
        if pod["metadata"]["labels"][naming.KIND] == "BatchInference":
            self._predict(pod, uid)
            return
        gang = [it for it in self.list("Pod") if owner_of(it) == uid]
        size = next((it["spec"]["completions"] for it in self.list("Job") if it["metadata"]["uid"] == uid), 0)
        if any(it["status"]["phase"] == "Failed" for it in gang):
            self.kill(pod, Exit.PEER_LOST)
            return
        if sum(it["status"]["phase"] in ("Running", "Succeeded") for it in gang) != size:
            return
        rank, done = index_of(pod), self._done.get(uid, 0)
        if done < self.steps:
            self._done[uid] = done + (rank == 0)
        elif rank != 0 or all(is_terminal(it) for it in gang if index_of(it) != 0):
            self.kill(pod, Exit.DONE)

    def _predict(self, pod: Json, uid: str) -> None:
        """Do one shard, if rank 0 is there to hand it out: without it the others end within a moment."""
        first = [it for it in self.list("Pod") if owner_of(it) == uid and index_of(it) == 0]
        runs = any(it["status"]["phase"] == "Running" for it in first)
        job, rank = pod["metadata"]["labels"][naming.JOB_UID], index_of(pod)
        done = self._done.get(job, 0)
        if runs and done < self.steps:
            self._done[job] = done + 1
        elif runs and rank == 0:
            shards = {"total": self.steps, "done": done, "failed": 0}
            self.kill(pod, Exit.DONE, shards=shards, rows=shards)
        elif runs:
            self.kill(pod, Exit.DONE)
        elif any(it["status"]["phase"] == "Failed" for it in first):
            self.kill(pod, Exit.PEER_LOST)

    def scale(self, namespace: str, name: str, uid: str, pods: int) -> Json:
        """Give a Job another number of pods."""
        if self.get("Job", namespace, name)["metadata"]["uid"] != uid:
            raise Conflict("another Job has that name")
        spec = {"completions": pods, "parallelism": pods}
        return self.patch("Job", namespace, name, lambda it: it["spec"].update(spec))

    # The garbage collector and the node lifecycle controller.

    def collect_garbage(self) -> None:
        kinds = (*KINDS, *CHILDREN)
        uids = {item["metadata"]["uid"] for kind in kinds for item in self.list(kind)}
        for item in [item for kind in kinds for item in self.list(kind)]:
            owner = owner_of(item)
            if not owner or owner in uids:
                continue
            if item["kind"] == "Pod":  # a Job that is gone holds its pods no more
                self.patch(*place_of(item), lambda it: it["metadata"].pop("finalizers", None))
            if "deletionTimestamp" not in item["metadata"]:
                self.delete(*place_of(item))

    def clear_machines(self) -> None:
        """Evict from machines that do not answer; end what no kubelet will ever end."""
        for pod in self.list("Pod"):
            machine = pod["spec"].get("nodeName")
            deleted = "deletionTimestamp" in pod["metadata"]
            if is_terminal(pod):
                continue
            if machine is None:
                if deleted:
                    self._end_without_kubelet(pod)
            elif machine not in self.machines:
                self.disrupt(pod, "DeletionByPodGC")
                self._end_without_kubelet(pod)
            elif machine in self.down and not deleted:
                self.disrupt(pod, "DeletionByTaintManager")

    def _end_without_kubelet(self, pod: Json) -> None:
        self.patch(*place_of(pod), lambda it: it["status"].update(phase="Failed"))
        self.release(*place_of(pod))

    # Faults, and what a test wants to see.

    def pods(self, job: str) -> list[Json]:
        """Return the living pods of a TrainingJob by rank."""
        mine = (it for it in self.list("Pod") if it["metadata"]["labels"][naming.JOB_NAME] == job)
        return sorted((it for it in mine if not is_terminal(it)), key=index_of)

    def kill(self, pod: Json, code: int = _KILLED, reason: str = "", **final: Any) -> None:
        """End a pod's main process: by SIGKILL, by the kernel (``reason``), or with a supervisor's exit code.

        Args:
            pod: to be ended.
            code: its exit code.
            reason: of the container's end, such as ``OOMKilled``.
            final: of its final report, which a killed process cannot write.
        """
        now = times.stamp(self.clock())
        report = Final(
            code=int(code),
            rank=index_of(pod),
            attempt=int(pod["metadata"]["labels"][naming.ATTEMPT]),
            **{"step": self._done.get(owner_of(pod), 0), **final},
        )
        ended = {
            "exitCode": int(code),
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": now,
            "finishedAt": now,
            "message": report.encode().decode() if code in set(Exit) else "",
        }
        self._set_status(pod, "Succeeded" if code == 0 else "Failed", {"terminated": ended})
        self.set_condition(pod, "Ready", "False")

    def disrupt(self, pod: Json, reason: str = "EvictionByEvictionAPI") -> None:
        """Delete a pod in the way that an eviction does: it gets SIGTERM and its grace."""
        self.set_condition(pod, "DisruptionTarget", reason=reason)
        with contextlib.suppress(NotFound):
            self.delete(*place_of(pod))

    def lose(self, machine: str) -> None:
        """Let a machine stop answering; its pods may still run."""
        self.down.add(machine)

    def heal(self, machine: str) -> None:
        """Let a lost machine answer again."""
        self.down.discard(machine)

    def remove(self, machine: str) -> None:
        """Take a machine out of the cluster."""
        del self.machines[machine]
        self.down.discard(machine)

    def _set_status(self, pod: Json, phase: str, state: Mapping[str, Any]) -> None:
        status = {"phase": phase, "containerStatuses": [{"name": "main", "state": dict(state)}]}
        self.patch(*place_of(pod), lambda it: it["status"].update(status))


def is_placeholder(pod: Mapping[str, Any]) -> bool:
    """Whether a pod only keeps a node warm."""
    return bool(pod["metadata"]["labels"][naming.KIND] == "ComputePool")
