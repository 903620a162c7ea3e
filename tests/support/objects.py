"""Objects as the API server writes them, as short as tests can have them."""

from __future__ import annotations

from typing import Any

from mlpools_operator.domain import naming
from mlpools_operator.domain.observed import Meta

Json = dict[str, Any]

CREATED = "2026-11-22T10:00:00Z"


def metadata(name: str, uid: str, version: int = 1, *, namespace: str = "team", **rest: Any) -> Json:
    """Return an object's metadata."""
    data: Json = {
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": CREATED,
        **rest,
    }
    return {**data, "namespace": namespace} if namespace else data


def pool(name: str = "cpu", uid: str = "pool", version: int = 1, *, max_nodes: int = 4) -> Json:
    """Return a ComputePool."""
    spec = {"maxNodes": max_nodes, "instance": {"cpu": "1", "memory": "1Gi"}}
    return {"metadata": metadata(name, uid, version, namespace="", generation=1), "spec": spec}


def namespace(name: str, version: int = 1, **labels: str) -> Json:
    """Return a namespace."""
    return {"metadata": metadata(name, f"uid-{name}", version, namespace="", labels=labels)}


def job(
    name: str = "job",
    uid: str = "job",
    version: int = 1,
    *,
    pool: str = "cpu",
    nodes: int = 1,
    status: Json | None = None,
    **meta: Any,
) -> Json:
    """Return a TrainingJob; of its spec only what the loop itself reads."""
    return {
        "metadata": metadata(name, uid, version, **{"generation": 1, **meta}),
        "spec": {"computePool": pool, "nodes": nodes},
        "status": status or {},
    }


def labels(owner_uid: str, owner: str = "job", attempt: int = 1, pool: str = "cpu") -> dict[str, str]:
    """Return the labels of a child."""
    meta = Meta(name=owner, uid=owner_uid)
    return naming.labels("TrainingJob", meta, pool, attempt)


def _owned(uid: str, kind: str = "TrainingJob", name: str = "job") -> list[Json]:
    api = "batch/v1" if kind == "Job" else "mlpools.dev/v1alpha1"
    return [{"apiVersion": api, "kind": kind, "name": name, "uid": uid, "controller": True}]


def child_job(
    uid: str,
    version: int = 1,
    *,
    owner: str = "job",
    attempt: int = 1,
    nodes: int = 1,
    status: Json | None = None,
) -> Json:
    """Return an attempt's Job."""
    meta = metadata(
        f"job-{attempt}", uid, version, labels=labels(owner, attempt=attempt), ownerReferences=_owned(owner)
    )
    return {"metadata": meta, "spec": {"parallelism": nodes, "completions": nodes}, "status": status or {}}


def pod(
    uid: str,
    version: int = 1,
    *,
    owner: str = "job",
    job: str = "child",
    rank: int = 0,
    attempt: int = 1,
    phase: str = "Pending",
    **rest: Any,
) -> Json:
    """Return a pod of an attempt; further arguments are fields of its status."""
    meta = metadata(
        f"pod-{uid}",
        uid,
        version,
        labels=labels(owner, attempt=attempt),
        annotations={"batch.kubernetes.io/job-completion-index": str(rank)},
        ownerReferences=_owned(job, "Job"),
    )
    container = {"name": "main", "resources": {"limits": {"memory": "4Gi"}}}
    return {"metadata": meta, "spec": {"containers": [container]}, "status": {"phase": phase, **rest}}


def service(uid: str, version: int = 1, *, owner: str = "job", name: str = "tj-job") -> Json:
    """Return a job's Service."""
    meta = metadata(name, uid, version, labels=labels(owner), ownerReferences=_owned(owner))
    return {"metadata": meta, "spec": {}}
