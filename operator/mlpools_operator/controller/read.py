"""From the API server's JSON to the slim copies that decisions read.

An object of the API server is some ten kilobytes, most of it managed fields, other controllers'
annotations and parts of the pod template; the copies are a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.domain import naming, tracking
from mlpools_operator.domain.observed import Child, ClaimChild, JobChild, Meta, Namespace, PodChild, Resource
from mlpools_operator.domain.times import seconds

Entry = Resource | Child | ClaimChild | JobChild | PodChild | Namespace
Json = Mapping[str, Any]

_OUR_PREFIX = "mlpools.dev/"
_RANK_ANNOTATION = "batch.kubernetes.io/job-completion-index"
_MAIN = "main"
#: Resources that every machine has.
_ORDINARY = frozenset({"cpu", "memory", "ephemeral-storage"})


def entry(kind: str, raw: Json) -> Entry:
    """Return the slim copy of an object.

    Args:
        kind: of the object; items of a list do not say it themselves.
        raw: the API server's JSON.
    """
    return _READERS[kind](kind, raw)


def meta(raw: Json) -> Meta:
    """Return an object's identity; of labels and annotations only ours are kept."""
    data = raw["metadata"]
    annotations = _ours(data.get("annotations"))
    tool = tracking.tool(data.get("labels") or {}, data.get("annotations") or {})
    return Meta(
        name=data["name"],
        uid=data["uid"],
        namespace=data.get("namespace", ""),
        resource_version=data.get("resourceVersion", ""),
        generation=data.get("generation", 0),
        created=seconds(data.get("creationTimestamp")),
        deleting="deletionTimestamp" in data,
        labels=_ours(data.get("labels")),
        annotations=annotations,
        owner=next((ref["uid"] for ref in data.get("ownerReferences", ()) if ref.get("controller")), ""),
        spec_hash=annotations.get(naming.SPEC_HASH, ""),
        tracked_by=tool,
    )


def _resource(kind: str, raw: Json) -> Resource:
    return Resource(meta=meta(raw), spec=raw.get("spec", {}), status=raw.get("status", {}))


def _child(kind: str, raw: Json) -> Child:
    return Child(kind=kind, meta=meta(raw))


def _namespace(kind: str, raw: Json) -> Namespace:
    return Namespace(meta=meta(raw), labels=raw["metadata"].get("labels", {}))


def _job(kind: str, raw: Json) -> JobChild:
    about, status = meta(raw), raw.get("status", {})
    true = {item["type"]: item for item in status.get("conditions", ()) if item["status"] == "True"}
    ended: Any = next((name for name in ("Complete", "Failed") if name in true), "")
    # FailureTarget comes before Failed: the Job controller has decided, pods are still going.
    word = true.get(ended) or true.get("FailureTarget") or {}
    pod = raw["spec"].get("template", {}).get("spec", {})
    return JobChild(
        meta=about,
        attempt=_number(about.labels.get(naming.ATTEMPT)),
        parallelism=raw["spec"].get("parallelism", 1),
        replaces="backoffLimitPerIndex" in raw["spec"],
        given_up=frozenset(_indexes(status.get("failedIndexes", ""))),
        ended=ended,
        reason=word.get("reason", ""),
        message=word.get("message", ""),
        selector=pod.get("nodeSelector", {}),
        devices=frozenset(_devices(pod.get("containers", ()))),
    )


def _set(kind: str, raw: Json) -> JobChild:
    about = meta(raw)
    return JobChild(
        meta=about,
        attempt=_number(about.labels.get(naming.ATTEMPT)),
        parallelism=raw["spec"].get("replicas", 1),
        replaces=True,
        kind=kind,
    )


def _claim(kind: str, raw: Json) -> ClaimChild:
    spec = raw["spec"]
    return ClaimChild(
        meta=meta(raw),
        size=str(spec["resources"]["requests"]["storage"]),
        storage_class=spec.get("storageClassName") or "",
        bound=raw.get("status", {}).get("phase") == "Bound",
    )


def _indexes(text: str) -> Iterator[int]:
    """Yield completion indexes that are written as a Job's status has them, such as ``1,3-5``."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _devices(containers: Iterable[Json]) -> Iterator[str]:
    for container in containers:
        resources = container.get("resources", {})
        yield from {*resources.get("requests", {}), *resources.get("limits", {})} - _ORDINARY


def _pod(kind: str, raw: Json) -> PodChild:
    about, spec, status = meta(raw), raw["spec"], raw.get("status", {})
    conditions = {item["type"]: item for item in status.get("conditions", ())}
    disruption = _if(conditions.get("DisruptionTarget"), "True")
    scheduled = conditions.get("PodScheduled", {})
    told = _named(_MAIN, status.get("containerStatuses", ()))
    main = told.get("state", {})
    began = main.get("running") or main.get("terminated") or {}
    first = "" if began else _unfinished(spec, status)
    in_the_way = _named(first, status["initContainerStatuses"]) if first else told
    state = in_the_way.get("state", {})
    limits = _named(first or _MAIN, spec["initContainers"] if first else spec.get("containers", ()))
    waiting, terminated = state.get("waiting", {}), state.get("terminated", {})
    before = in_the_way.get("lastState", {}).get("terminated", {})
    return PodChild(
        meta=about,
        rank=_number(raw["metadata"].get("annotations", {}).get(_RANK_ANNOTATION)),
        attempt=_number(about.labels.get(naming.ATTEMPT)),
        job=about.owner,
        phase=status.get("phase", "Pending"),
        node=spec.get("nodeName", ""),
        ip=status.get("podIP", ""),
        ready=bool(_if(conditions.get("Ready"), "True")),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        disruption=disruption.get("reason", ""),
        disrupted=seconds(disruption.get("lastTransitionTime")),
        unschedulable=_unschedulable(scheduled),
        init_container=first,
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=terminated.get("exitCode"),
        exit_reason=terminated.get("reason", ""),
        termination=terminated.get("message", ""),
        finished=seconds(terminated.get("finishedAt")),
        scheduled=seconds(_if(scheduled, "True").get("lastTransitionTime")),
        started=seconds(began.get("startedAt")),
        memory_limit=str(limits.get("resources", {}).get("limits", {}).get("memory", "")),
        last_words=before.get("message", ""),
        last_reason=before.get("reason", ""),
        gone_by=seconds(raw["metadata"].get("deletionTimestamp")),
    )


def _unschedulable(condition: Json) -> str:
    if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
        return str(condition.get("message", ""))
    return ""


def _unfinished(spec: Json, status: Json) -> str:
    """Return the name of the init container that is in the way of those after it; empty if none is.

    They start one by one, each when the one before it has done its work: has ended well, or, if it runs
    beside the others (``restartPolicy: Always``), has started.
    """
    beside = {item["name"] for item in spec.get("initContainers", ()) if item.get("restartPolicy")}
    for item in status.get("initContainerStatuses", ()):
        state, name = item.get("state", {}), str(item["name"])
        if "waiting" in state if name in beside else state.get("terminated", {}).get("exitCode") != 0:
            return name
    return ""


def _named(name: str, items: Iterable[Json]) -> Json:
    return next((item for item in items if item["name"] == name), {})


def _if(condition: Json | None, status: str) -> Json:
    """Return the condition if it has that status, else an empty one."""
    return condition if condition and condition.get("status") == status else {}


def _ours(items: Mapping[str, str] | None) -> Mapping[str, str]:
    kept = {key: value for key, value in (items or {}).items() if key.startswith(_OUR_PREFIX)}
    if items and naming.MANAGED_BY in items:
        kept[naming.MANAGED_BY] = items[naming.MANAGED_BY]
    return kept


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


_READERS: Mapping[str, Callable[[str, Json], Entry]] = {
    **dict.fromkeys(KINDS, _resource),
    "Job": _job,
    "Pod": _pod,
    "Service": _child,
    "NetworkPolicy": _child,
    "Ingress": _child,
    "ServiceAccount": _child,
    "Role": _child,
    "RoleBinding": _child,
    "StatefulSet": _set,
    "PersistentVolumeClaim": _claim,
    "Namespace": _namespace,
}
