"""Which pod is which rank of which attempt. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mlpools_kubectl.cluster import Cluster, Object, Objects
from mlpools_kubectl.screen import said
from mlpools_operator.api.v1alpha1.pool_template import MAIN
from mlpools_operator.cluster.kinds import CHILDREN
from mlpools_operator.domain import naming

_RANK = "batch.kubernetes.io/job-completion-index"


def children(cluster: Cluster, kind: str, owner: Object) -> Objects:
    """Read what there is of a kind that belongs to an object of ours."""
    meta = owner["metadata"]
    selector = f"{naming.JOB_UID}={meta['uid']}"
    return cluster.list(CHILDREN[kind], namespace=meta["namespace"], labels=selector)


def rank_of(pod: Object) -> int:
    """Return a pod's rank; a notebook's own pod has 0."""
    return int((pod["metadata"].get("annotations") or {}).get(_RANK, 0))


def attempt_of(pod: Object) -> int:
    """Return the attempt, or the start, that a pod belongs to."""
    return int((pod["metadata"].get("labels") or {}).get(naming.ATTEMPT, 0))


def choose(pods: Sequence[Object], rank: int, attempt: int | None = None) -> Object | None:
    """Return the newest pod of a rank, of the last attempt unless another one is named."""
    wanted = max(map(attempt_of, pods), default=0) if attempt is None else attempt
    found = [it for it in pods if attempt_of(it) == wanted and rank_of(it) == rank]
    return max(found, key=lambda it: str(it["metadata"]["creationTimestamp"]), default=None)


def state_of(pod: Object, container: str = MAIN) -> Object:
    """Return a container's state: ``running``, ``terminated`` or ``waiting``; empty before."""
    found = (it for it in said(pod, "status", "containerStatuses") or () if it["name"] == container)
    state: Object = next((it.get("state") or {} for it in found), {})
    return state


def has_begun(pod: Object) -> bool:
    """Whether the main container has a log."""
    return bool({"running", "terminated"} & state_of(pod).keys())


def hindrance(pod: Object, container: str = MAIN) -> str:
    """Say why a pod's container does not run yet."""
    waiting = state_of(pod, container).get("waiting") or {}
    if waiting.get("reason"):
        return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    unmet = (it for it in said(pod, "status", "conditions") or () if it["status"] != "True")
    return next((str(it.get("message", "")) for it in unmet if it.get("message")), "it is being started")
