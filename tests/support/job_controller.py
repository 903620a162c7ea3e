"""The Job controller for Indexed Jobs: makes pods, counts how they end, and ends the Job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mlpools.contract.ends import Exit
from tests.support.api_server import ApiServer, Json, condition, is_terminal, owner_of, place_of

#: Exit codes after which a pod of an elastic Job is replaced without counting.
_IGNORED = (Exit.PREEMPTED, Exit.PEER_LOST)
TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


class JobController:
    """Acts as Kubernetes does on the Jobs that the operator makes.

    That is: ``podReplacementPolicy: Failed`` and a successPolicy on index 0; of a gang ``backoffLimit: 0``
    and a podFailurePolicy that fails the Job at the first failed pod; of an elastic Job
    ``backoffLimitPerIndex`` and a podFailurePolicy by which some failures do not count.
    """

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._ended: dict[str, dict[int, Json]] = {}
        self._pods_made = 0
        self._seen: set[str] = set()
        self._failures: Counter[tuple[str, int]] = Counter()

    def act(self) -> None:
        for job in self._api.list("Job"):
            for pod in self._pods_of(job):
                self._track(job, pod)
            if "deletionTimestamp" not in job["metadata"]:
                self._control(job)

    def _pods_of(self, job: Json) -> list[Json]:
        uid = job["metadata"]["uid"]
        return [pod for pod in self._api.list("Pod") if owner_of(pod) == uid]

    def _track(self, job: Json, pod: Json) -> None:
        """Count a pod that has ended, which lets it go if it was deleted."""
        if is_terminal(pod):
            ended = self._ended.setdefault(job["metadata"]["uid"], {})
            if not _is_elastic(job) or pod["status"]["phase"] == "Succeeded":
                ended.setdefault(index_of(pod), pod)
            elif pod["metadata"]["uid"] not in self._seen:
                self._seen.add(pod["metadata"]["uid"])
                self._count_failure(job, pod, ended)
            place = place_of(pod)
            self._api.patch(*place, lambda it: it["metadata"].pop("finalizers", None))
            self._api.release(*place)

    def _count_failure(self, job: Json, pod: Json, ended: dict[int, Json]) -> None:
        """Count a failure of an index, which ends it once there were too many."""
        if condition(pod, "DisruptionTarget") or _exit_code(pod) in _IGNORED:
            return
        key = (job["metadata"]["uid"], index_of(pod))
        self._failures[key] += 1
        if self._failures[key] > job["spec"]["backoffLimitPerIndex"]:
            ended[index_of(pod)] = pod
            self._tell_failed(job, ended)

    def _tell_failed(self, job: Json, ended: Mapping[int, Json]) -> None:
        failed = sorted(at for at, pod in ended.items() if pod["status"]["phase"] == "Failed")
        told = {"failedIndexes": ",".join(map(str, failed))}
        self._api.patch(*place_of(job), lambda it: it.setdefault("status", {}).update(told))

    def _control(self, job: Json) -> None:
        if condition(job, "Complete") or condition(job, "Failed"):
            return
        ended = self._ended.get(job["metadata"]["uid"], {})
        self._forget_beyond(job, ended)
        living = [pod for pod in self._pods_of(job) if not is_terminal(pod)]
        deciding = condition(job, "SuccessCriteriaMet") or condition(job, "FailureTarget")
        deciding = deciding or self._decide(job, ended)
        if deciding:
            self._stop(job, living, deciding)
        else:
            self._scale_down(job, living)
            for index in range(job["spec"]["completions"]):
                if index not in ended and index not in {index_of(pod) for pod in living}:
                    self._make_pod(job, index)
        phases = [pod["status"]["phase"] for pod in ended.values()]
        counts = {
            "active": len(living),
            "succeeded": phases.count("Succeeded"),
            "failed": phases.count("Failed"),
        }
        self._api.patch(*place_of(job), lambda it: it.setdefault("status", {}).update(counts))

    def _decide(self, job: Json, ended: Mapping[int, Json]) -> Json:
        failed = [pod for pod in ended.values() if pod["status"]["phase"] == "Failed"]
        if failed and not _is_elastic(job):
            message = _failure_in_words(failed[0])
            return self._api.set_condition(job, "FailureTarget", reason="PodFailurePolicy", message=message)
        if 0 in ended and ended[0]["status"]["phase"] == "Succeeded":
            message = "Matched rules at index 0"
            return self._api.set_condition(job, "SuccessCriteriaMet", reason="SuccessPolicy", message=message)
        if failed and len(ended) >= job["spec"]["completions"]:
            words = {"reason": "FailedIndexes", "message": "Job has failed indexes"}
            return self._api.set_condition(job, "FailureTarget", **words)
        return {}

    def _forget_beyond(self, job: Json, ended: dict[int, Json]) -> None:
        """Forget how pods ended that an elastic Job has not any more."""
        beyond = [at for at in ended if at >= job["spec"]["completions"]]
        if beyond and _is_elastic(job):
            for at in beyond:
                del ended[at]
                del self._failures[job["metadata"]["uid"], at]
            self._tell_failed(job, ended)

    def _scale_down(self, job: Json, living: list[Json]) -> None:
        for pod in living:
            if index_of(pod) >= job["spec"]["completions"] and "deletionTimestamp" not in pod["metadata"]:
                self._api.delete(*place_of(pod))

    def _stop(self, job: Json, living: list[Json], deciding: Mapping[str, str]) -> None:
        for pod in living:
            if "deletionTimestamp" not in pod["metadata"]:
                self._api.delete(*place_of(pod))
        if all(is_terminal(pod) for pod in self._pods_of(job)):
            final = "Complete" if deciding["type"] == "SuccessCriteriaMet" else "Failed"
            words = {key: deciding[key] for key in ("reason", "message")}
            self._api.set_condition(job, final, **words)

    def _make_pod(self, job: Json, index: int) -> None:
        template, metadata = job["spec"]["template"], job["metadata"]
        self._pods_made += 1
        name = metadata["name"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": metadata["uid"]}
        self._api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{name}-{index}-{self._pods_made:05d}",
                    "namespace": metadata["namespace"],
                    "labels": dict(template["metadata"]["labels"]),
                    "annotations": {INDEX: str(index)},
                    "finalizers": [TRACKING],
                    "ownerReferences": [{**owner, "controller": True}],
                },
                "spec": {**template["spec"], "hostname": f"{name}-{index}"},
            }
        )


def _is_elastic(job: Json) -> bool:
    return "backoffLimitPerIndex" in job["spec"]


def _exit_code(pod: Json) -> int:
    (status,) = pod["status"].get("containerStatuses") or [{}]
    code: int = status.get("state", {}).get("terminated", {}).get("exitCode", 0)
    return code


def index_of(pod: Mapping[str, Any]) -> int:
    """Return a pod's completion index; 0 for one that no Job made."""
    return int(pod["metadata"].get("annotations", {}).get(INDEX, 0))


def _failure_in_words(pod: Mapping[str, Any]) -> str:
    """Return why a Job failed by its podFailurePolicy, in Kubernetes' words."""
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if condition(pod, "DisruptionTarget"):
        return f"Pod {name} has condition DisruptionTarget matching FailJob rule at index 0"
    statuses = pod["status"].get("containerStatuses", [{}])
    code = statuses[0].get("state", {}).get("terminated", {}).get("exitCode", 0)
    return f"Container main for pod {name} failed with exit code {code} matching FailJob rule at index 1"
