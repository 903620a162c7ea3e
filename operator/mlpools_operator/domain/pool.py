"""A ComputePool: what it says of itself. Who gets its nodes is ``admission``'s decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import (
    ComputePoolSpec,
    ComputePoolStatus,
    InvalidSpec,
    PoolNodes,
    QueueEntry,
)
from mlpools_operator.domain import families, head, times
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.ledger import Candidate, Decision
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Plan

_QUEUE_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Observed:
    """What a pool's status tells of.

    Attributes:
        decision: of the same candidates.
        candidates: all that hold nodes of the pool or ask for them.
    """

    decision: Decision
    candidates: tuple[Candidate, ...]


def plan(pool: Resource, observed: Observed, now: float, defaults: Defaults) -> Plan:
    """Plan the pool's status; it has no children of its own."""
    if pool.meta.deleting:
        return Plan()
    status = _status(pool, observed, now, defaults.families).plain()
    return Plan(
        status=status if status != pool.status else None, requeue_after=observed.decision.requeue_after
    )


def _status(
    pool: Resource, observed: Observed, now: float, catalogue: families.Catalogue
) -> ComputePoolStatus:
    before = ComputePoolStatus.model_validate(pool.status)
    conditions = ConditionList(before.conditions, now)
    queue = _queue(observed)
    held = observed.decision.held
    jobs = sum(_holds(candidate, observed.decision) for candidate in observed.candidates)
    try:
        spec: ComputePoolSpec | None = families.read(pool.spec, catalogue)
        conditions.set("Ready", True, "Accepted", "The pool takes jobs.")
    except InvalidSpec as error:
        spec = None
        conditions.set("Ready", False, "InvalidSpec", str(error)).set(
            "Stalled", True, "InvalidSpec", str(error)
        )
    limit = spec.max_nodes if spec else 0
    family = families.order(spec)[0] if spec else ""
    changed = (before.jobs, before.queued) != (jobs, len(queue))
    return ComputePoolStatus(
        state="Active" if held else "Idle",
        instance_family=family,
        shape=families.in_words(spec, family, catalogue) if spec else "",
        nodes=PoolNodes(target=held, active=held, max=limit, summary=f"{held}/0/{limit}"),
        jobs=jobs,
        queued=len(queue),
        queue=tuple(queue[:_QUEUE_SHOWN]),
        heads=head.told(observed.decision.heads),
        last_activity_time=times.stamp(now) if changed else before.last_activity_time,
        conditions=conditions.all(),
        observed_generation=pool.meta.generation,
    )


def _holds(candidate: Candidate, decision: Decision) -> bool:
    verdict = decision.verdicts.get(candidate.uid)
    return bool(candidate.held) or (verdict is not None and verdict.admit)


def _queue(observed: Observed) -> Sequence[QueueEntry]:
    """Return those that wait, in the order in which they are served."""
    verdicts = observed.decision.verdicts
    waiting = [
        candidate
        for candidate in observed.candidates
        if candidate.uid in verdicts and verdicts[candidate.uid].position
    ]
    waiting.sort(key=lambda it: (-it.priority, it.created, it.uid))
    return [
        QueueEntry(
            kind=candidate.kind,
            namespace=candidate.namespace,
            name=candidate.name,
            position=place,
            nodes=candidate.nodes,
            priority=candidate.priority,
            since=times.stamp(candidate.created),
            reason=verdicts[candidate.uid].reason,
        )
        for place, candidate in enumerate(waiting, start=1)
    ]
