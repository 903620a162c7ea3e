"""How the pools stand, for the metrics: read from memory at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlpools_operator.controller.feed import POOL
from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.store import Store
from mlpools_operator.domain.job import transitions
from mlpools_operator.domain.kinds import JOB_KINDS
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.metrics import PoolFigures


def names(store: Store) -> frozenset[str]:
    """Return the names of the pools that exist."""
    return frozenset(key.name for key, _ in store.all(POOL))


def figures(store: Store, ledger: Ledger, now: float) -> dict[str, PoolFigures]:
    """Return how each pool stands.

    Args:
        store: what is known of the world.
        ledger: who holds or wants nodes.
        now: seconds since the epoch.
    """
    pools = (resource for _, resource in store.all(POOL) if isinstance(resource, Resource))
    return {pool.meta.name: _of(pool, store, ledger, now) for pool in pools}


def _of(pool: Resource, store: Store, ledger: Ledger, now: float) -> PoolFigures:
    candidates = ledger.candidates(pool.meta.name)
    asking = [it for it in candidates if _asks(it)]
    nodes: Mapping[str, Any] = pool.status.get("nodes", {})
    return PoolFigures(
        nodes={
            "max": int(pool.spec.get("maxNodes", 0)),
            "wanted": nodes.get("target", 0),
            "held": sum(it.held for it in candidates),
            "idle": nodes.get("idle", 0),
        },
        jobs=_by_state([it for it in candidates if it.kind in JOB_KINDS]),
        notebooks=_by_state([it for it in candidates if it.kind not in JOB_KINDS]),
        longest_wait=max((_waited(it, store, ledger, now) for it in asking), default=0.0),
        conditions={it["type"]: it["status"] == "True" for it in pool.status.get("conditions", ())},
    )


def _asks(candidate: Candidate) -> bool:
    return not candidate.admitted and not candidate.blocked


def _by_state(candidates: Sequence[Candidate]) -> dict[str, int]:
    admitted = [it for it in candidates if it.admitted]
    running = sum(it.pods.running >= it.nodes for it in admitted)
    queued = sum(_asks(it) for it in candidates)
    return {"queued": queued, "starting": len(admitted) - running, "running": running}


def _waited(candidate: Candidate, store: Store, ledger: Ledger, now: float) -> float:
    """Return for how long one has stood in the line; 0 for those whom their own limits keep out of it."""
    verdict, resource = ledger.verdict(candidate.uid), store.find(candidate.kind, candidate.uid)
    if verdict is None or not verdict.position or not isinstance(resource, Resource):
        return 0.0
    return max(0.0, now - transitions.waiting_since(resource))
