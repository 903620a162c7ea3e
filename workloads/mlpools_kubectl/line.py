"""Who waits for a pool, in which order and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlpools_kubectl import usage
from mlpools_kubectl.cluster import Object
from mlpools_kubectl.screen import said
from mlpools_operator.domain import times


@dataclass(frozen=True)
class Place:
    """One that waits.

    Attributes:
        position: 1 is next; 0 = it does not stand in the line, for the reason that it has.
        since: when it was created, seconds since the epoch; 0 = unknown.
        message: why it waits, in a sentence; empty where this person may not read it.
    """

    pool: str
    position: int
    namespace: str
    kind: str
    name: str
    nodes: int
    priority: int
    since: float
    reason: str
    message: str


@dataclass(frozen=True)
class Line:
    """The queue of a pool.

    Attributes:
        unnamed: how many more wait whose names the pool does not tell this person.
    """

    pool: str
    places: tuple[Place, ...]
    unnamed: int


def line(pool: Object, work: Sequence[Object]) -> Line:
    """Return the queue of a pool: as its status tells it, and what this person sees of it besides.

    Args:
        pool: with its status.
        work: the jobs and notebooks that the person may read.
    """
    name = pool["metadata"]["name"]
    own = {_key(it): it for it in usage.waiting(work) if it["spec"]["computePool"] == name}
    told = [_told(name, entry, own.get(_named(entry))) for entry in said(pool, "status", "queue") or ()]
    known = {(it.kind, it.namespace, it.name) for it in told}
    others = [_own(name, it) for key, it in own.items() if key not in known]
    places = sorted([*told, *others], key=lambda it: (it.position or 10**9, it.since, it.name))
    standing = sum(1 for it in places if it.position)
    return Line(name, tuple(places), max(0, (said(pool, "status", "queued") or 0) - standing))


def _told(pool: str, entry: Object, own: Object | None) -> Place:
    return Place(
        pool=pool,
        position=entry["position"],
        namespace=entry["namespace"],
        kind=entry["kind"],
        name=entry["name"],
        nodes=entry["nodes"],
        priority=entry.get("priority", 0),
        since=times.seconds(entry.get("since")),
        reason=entry.get("reason", ""),
        message=said(own, "status", "queue", "message") or "",
    )


def _own(pool: str, it: Object) -> Place:
    queue = said(it, "status", "queue") or {}
    return Place(
        pool=pool,
        position=queue.get("position", 0),
        namespace=it["metadata"]["namespace"],
        kind=it["kind"],
        name=it["metadata"]["name"],
        nodes=it["spec"].get("nodes", 1),
        priority=it["spec"].get("priority", 0),
        since=times.seconds(it["metadata"].get("creationTimestamp")),
        reason=queue.get("reason", "") or said(it, "status", "reason") or "",
        message=queue.get("message", ""),
    )


def _key(it: Object) -> tuple[str, str, str]:
    return it["kind"], it["metadata"]["namespace"], it["metadata"]["name"]


def _named(entry: Object) -> tuple[str, str, str]:
    return entry["kind"], entry["namespace"], entry["name"]
