"""Who uses what: pools, namespaces, and what holds nodes. Pure; ``showing`` draws it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlpools_kubectl.cluster import Object
from mlpools_kubectl.kinds import NOTEBOOK
from mlpools_kubectl.screen import said
from mlpools_operator.domain import times


@dataclass(frozen=True)
class Pool:
    """One pool.

    Attributes:
        active: nodes that something holds.
        idle: nodes that are kept warm.
        most: nodes that it has at most.
        queued: jobs and notebooks that wait.
    """

    name: str
    state: str
    shape: str
    active: int
    idle: int
    most: int
    queued: int


@dataclass(frozen=True)
class Holder:
    """What holds nodes of a pool.

    Attributes:
        progress: how far it is, in the words of its status; empty if nobody knows.
        since: when it was first admitted, seconds since the epoch; 0 = unknown.
    """

    pool: str
    namespace: str
    kind: str
    name: str
    nodes: int
    phase: str
    progress: str
    since: float


@dataclass(frozen=True)
class Share:
    """What a namespace has of a pool."""

    pool: str
    namespace: str
    nodes: int
    jobs: int
    notebooks: int
    queued: int


def pools(found: Sequence[Object]) -> list[Pool]:
    """Return the pools by name."""
    return sorted((_pool(it) for it in found), key=lambda pool: pool.name)


def _pool(it: Object) -> Pool:
    nodes = said(it, "status", "nodes") or {}
    return Pool(
        name=it["metadata"]["name"],
        state=said(it, "status", "state") or "",
        shape=said(it, "status", "shape") or "",
        active=nodes.get("active", 0),
        idle=nodes.get("idle", 0),
        most=nodes.get("max", it["spec"]["maxNodes"]),
        queued=said(it, "status", "queued") or 0,
    )


def holders(work: Sequence[Object]) -> list[Holder]:
    """Return what holds nodes, by pool, most nodes first."""
    found = [_holder(it) for it in work if holds(it, "Admitted") and not ended(it)]
    return sorted(found, key=lambda it: (it.pool, -it.nodes, it.namespace, it.name))


def _holder(it: Object) -> Holder:
    return Holder(
        pool=it["spec"]["computePool"],
        namespace=it["metadata"]["namespace"],
        kind=it["kind"],
        name=it["metadata"]["name"],
        nodes=_nodes(it),
        phase=said(it, "status", "phase") or "",
        progress=said(it, "status", "progress", "summary") or _rest(it),
        since=times.seconds(said(it, "status", "startTime")),
    )


def _nodes(it: Object) -> int:
    if it["kind"] == NOTEBOOK:
        return 1 + int(said(it, "status", "cluster", "nodes") or 0)
    nodes = said(it, "status", "nodes") or {}
    return int(nodes.get("granted", nodes.get("requested", it["spec"].get("nodes", 1))))


def _rest(it: Object) -> str:
    """Return when a notebook stops by itself."""
    until = said(it, "status", "idleAt")
    return f"stops {until} if unused" if until else ""


def shares(work: Sequence[Object]) -> list[Share]:
    """Return what each namespace has of each pool, most nodes first."""
    held = holders(work)
    keys = {(it.pool, it.namespace) for it in held} | {_key(it) for it in waiting(work)}
    found = [_share(pool, namespace, held, work) for pool, namespace in keys]
    return sorted(found, key=lambda it: (it.pool, -it.nodes, it.namespace))


def _share(pool: str, namespace: str, held: Sequence[Holder], work: Sequence[Object]) -> Share:
    own = [it for it in held if (it.pool, it.namespace) == (pool, namespace)]
    notebooks = sum(it.kind == NOTEBOOK for it in own)
    return Share(
        pool,
        namespace,
        nodes=sum(it.nodes for it in own),
        jobs=len(own) - notebooks,
        notebooks=notebooks,
        queued=sum(_key(it) == (pool, namespace) for it in waiting(work)),
    )


def waiting(work: Sequence[Object]) -> Iterator[Object]:
    """Yield what waits for nodes."""
    return (it for it in work if said(it, "status", "phase") == "Queued")


def _key(it: Object) -> tuple[str, str]:
    return it["spec"]["computePool"], it["metadata"]["namespace"]


def holds(it: Object, condition: str) -> bool:
    """Whether a condition of an object is there and true."""
    return any(
        found["type"] == condition and found["status"] == "True"
        for found in said(it, "status", "conditions") or ()
    )


def message(it: Object, condition: str) -> str:
    """Return a condition's sentence, empty without it."""
    found = (c for c in said(it, "status", "conditions") or () if c["type"] == condition)
    return next((str(c.get("message", "")) for c in found), "")


def ended(it: Object) -> bool:
    """Whether a job is over."""
    return holds(it, "Complete") or holds(it, "Failed")
