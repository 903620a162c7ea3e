"""Who holds or wants nodes of which pool: in memory, and rebuilt from the objects alone at any time.

Only two things here are not written in an object yet: a *grant* (admission said yes, the job's status
does not show it yet) and the newest *verdicts*. Both may be lost at any moment: without the status nothing
starts, and the next pass of the pool gives verdicts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from mlpools_operator.controller.store import Family, Key, Store
from mlpools_operator.domain import naming
from mlpools_operator.domain.attempt import stranded
from mlpools_operator.domain.computepool import placeholders
from mlpools_operator.domain.observed import JobChild, PodChild, Resource
from mlpools_operator.domain.pool import holding
from mlpools_operator.domain.pool.half_gangs import HalfGang
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Ticket, Verdict

#: (resource, its family, now) -> what admission sees of it, or None when it wants and holds nothing.
CandidateOf = Callable[[Resource, Family, float], Candidate | None]


@dataclass(frozen=True, slots=True)
class _Grant:
    """Nodes that were promised, and to whom: so many in all for its attempt."""

    ticket: Ticket
    nodes: int


@dataclass(slots=True)
class _Pool:
    candidates: dict[str, Candidate] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    grants: dict[str, _Grant] = field(default_factory=dict)

    def counted(self, candidate: Candidate) -> Candidate:
        """Return a candidate with what was said to it and is not in its status yet."""
        grant = self.grants.get(candidate.uid)
        if grant is not None:
            return candidate.granted(grant.nodes)
        said = self.verdicts.get(candidate.uid)
        if said is None or not candidate.admitted or said.attempt != candidate.attempt:
            return candidate
        if said.evict:
            return replace(candidate, evicting=True)
        shrinks = 0 < said.nodes < candidate.size == said.size
        return replace(candidate, target=said.nodes) if shrinks else candidate


class Ledger:
    """The candidates, grants and verdicts of all pools.

    What changed is only marked at once (``touch``) and looked at when somebody asks, so a gang of a
    thousand pods that starts costs one look, not a thousand.
    """

    def __init__(
        self, store: Store, candidate_of: Mapping[str, CandidateOf], clock: Callable[[], float]
    ) -> None:
        """Keep the books over a store.

        Args:
            store: what is known of the world.
            candidate_of: by kind, for each kind that takes nodes.
            clock: seconds since the epoch.
        """
        self._store, self._candidate_of, self._clock = store, candidate_of, clock
        self._pools: dict[str, _Pool] = {}
        self._pool_of: dict[str, str] = {}
        self._halves: dict[str, HalfGang] = {}
        self._touched: set[str] = set()

    def touch(self, uid: str) -> None:
        """Note that a resource or something of its family changed."""
        self._touched.add(uid)

    def candidates(self, pool: str) -> tuple[Candidate, ...]:
        """Return all that hold or want nodes of a pool, in a fixed order.

        Grants count as admitted, and who was told to give its nodes back is marked.
        """
        self._refresh()
        book = self._pools.get(naming.label_value(pool), _Pool())
        counted = (book.counted(candidate) for candidate in book.candidates.values())
        return tuple(sorted(counted, key=lambda candidate: (candidate.created, candidate.uid)))

    def record(self, pool: str, decision: Decision) -> list[Key]:
        """Keep a pool's newest decision; return the resources about which it says something new.

        Those that get nodes or give them back come first, before those whose place in the queue moves.
        """
        book = self._pools.get(naming.label_value(pool))
        if book is None:
            return []
        moved: list[Key] = []
        placed: list[Key] = []
        for uid, candidate in book.candidates.items():
            verdict = decision.verdicts.get(uid)
            if verdict is not None and (nodes := _promised(candidate, verdict)):
                book.grants[uid] = _Grant(candidate.ticket, nodes)
            if verdict != book.verdicts.get(uid):
                place = placed if verdict and verdict.position else moved
                place.append(Key(candidate.kind, candidate.namespace, candidate.name))
        book.verdicts = decision.verdicts
        return moved + placed

    def verdict(self, uid: str) -> Verdict | None:
        """Return the newest verdict on a resource, None before its pool has looked at it."""
        self._refresh()
        book = self._pools.get(self._pool_of.get(uid, ""))
        return book.verdicts.get(uid) if book else None

    def half_gangs(self, uid: str) -> tuple[HalfGang, ...]:
        """Return the half gangs of all pools if a resource is one of them, else none."""
        self._refresh()
        return tuple(self._halves.values()) if uid in self._halves else ()

    def members(self, pool: str) -> list[Key]:
        """Return the resources that hold or want nodes of a pool."""
        return [Key(c.kind, c.namespace, c.name) for c in self.candidates(pool)]

    def _refresh(self) -> None:
        touched, self._touched = self._touched, set()
        for uid in touched:
            pool, candidate = self._look(uid)
            self._enter(uid, pool, candidate)

    def _look(self, uid: str) -> tuple[str, Candidate | None]:
        family = self._store.family(uid)
        for kind, candidate_of in self._candidate_of.items():
            resource = self._store.find(kind, uid)
            if isinstance(resource, Resource):
                pool = naming.label_value(str(resource.spec.get("computePool", "")))
                return pool, candidate_of(resource, family, self._clock())
        return _stray(uid, family)

    def _enter(self, uid: str, pool: str, candidate: Candidate | None) -> None:
        before = self._pool_of.get(uid)
        if before is not None and (candidate is None or before != pool):
            del self._pool_of[uid], self._pools[before].candidates[uid]
            self._pools[before].grants.pop(uid, None)
        self._halves.pop(uid, None)
        if candidate is None:
            return
        self._pool_of[uid] = pool
        book = self._pools.setdefault(pool, _Pool())
        book.candidates[uid] = candidate
        if candidate.half is not None:
            self._halves[uid] = candidate.half
        # A grant is spent once the status shows it, and void for another attempt or a changed spec, or if it
        # may not be used at all.
        grant = book.grants.get(uid)
        if grant and (candidate.stopping or candidate.blocked or grant.ticket != candidate.ticket):
            del book.grants[uid]


def _promised(candidate: Candidate, verdict: Verdict) -> int:
    """Return the nodes that a verdict gives to one beyond those that its status shows; 0 = none."""
    if not candidate.admitted:
        return (verdict.nodes or candidate.nodes) if verdict.admit else 0
    return verdict.nodes if verdict.nodes > candidate.size == verdict.size else 0


def _stray(uid: str, family: Family) -> tuple[str, Candidate | None]:
    """Return the pool of a resource that was deleted, and what its Jobs and pods still hold there.

    The garbage collector needs a moment, and a pod its grace period; until then the nodes are not free.
    """
    held = holding.nodes_of(family.jobs, family.pods)
    if not held:
        return "", None
    members: tuple[JobChild | PodChild, ...] = (*family.jobs, *family.pods)
    meta = members[0].meta
    if meta.labels.get(naming.KIND) == placeholders.KIND:
        return "", None  # what keeps a node warm holds none
    candidate = Candidate(
        uid=uid,
        kind=meta.labels.get(naming.KIND, ""),
        namespace=meta.namespace,
        name=meta.labels.get(naming.JOB_NAME, meta.name),
        nodes=0,
        priority=0,
        created=meta.created,
        held=held,
        pods=holding.living(family.pods),
        ending=stranded.look(family.pods),
        blocked="Deleted",
    )
    return meta.labels.get(naming.POOL, ""), candidate
