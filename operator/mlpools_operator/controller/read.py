"""From the API server's JSON to the slim copies that decisions read.

An object of the API server is some ten kilobytes, most of it managed fields, other controllers'
annotations and parts of the pod template; the copies are a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.domain import naming, tracking
from mlpools_operator.domain.observed import Child, JobChild, Meta, Namespace, PodChild, Resource
from mlpools_operator.domain.times import seconds

Entry = Resource | Child | JobChild | PodChild | Namespace
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
        ended=ended,
        reason=word.get("reason", ""),
        message=word.get("message", ""),
        selector=pod.get("nodeSelector", {}),
        devices=frozenset(_devices(pod.get("containers", ()))),
    )


def _devices(containers: Iterable[Json]) -> Iterator[str]:
    for container in containers:
        resources = container.get("resources", {})
        yield from {*resources.get("requests", {}), *resources.get("limits", {})} - _ORDINARY


def _pod(kind: str, raw: Json) -> PodChild:
    about, spec, status = meta(raw), raw["spec"], raw.get("status", {})
    conditions = {item["type"]: item for item in status.get("conditions", ())}
    disruption = _if(conditions.get("DisruptionTarget"), "True")
    scheduled = conditions.get("PodScheduled", {})
    state = _main_status(status.get("containerStatuses", ())).get("state", {})
    waiting, terminated = state.get("waiting", {}), state.get("terminated", {})
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
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=terminated.get("exitCode"),
        exit_reason=terminated.get("reason", ""),
        termination=terminated.get("message", ""),
        finished=seconds(terminated.get("finishedAt")),
        scheduled=seconds(_if(scheduled, "True").get("lastTransitionTime")),
        started=seconds((state.get("running") or terminated).get("startedAt")),
        memory_limit=_memory_limit(spec.get("containers", ())),
        gone_by=seconds(raw["metadata"].get("deletionTimestamp")),
    )


def _unschedulable(condition: Json) -> str:
    if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
        return str(condition.get("message", ""))
    return ""


def _main_status(statuses: Iterable[Json]) -> Json:
    return next((item for item in statuses if item["name"] == _MAIN), {})


def _memory_limit(containers: Iterable[Json]) -> str:
    main: Json = next((item for item in containers if item["name"] == _MAIN), {})
    return str(main.get("resources", {}).get("limits", {}).get("memory", ""))


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
    "Namespace": _namespace,
}
