"""A ComputePool: what it says of itself. Who gets its nodes is ``admission``'s decision."""

from __future__ import annotations

from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import (
    ComputePoolSpec,
    ComputePoolStatus,
    InvalidSpec,
    PoolNodes,
    QueueEntry,
)
from mlpools_operator.domain import capacity, families, head, network_profiles, places, pool_life, times
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.ledger import Candidate, Decision
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Event, Plan
from mlpools_operator.domain.pool_life import Life


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
    before = ComputePoolStatus.model_validate(pool.status)
    try:
        spec = families.read(pool.spec, defaults.families)
    except InvalidSpec as error:
        status, until = _unusable(pool, before, observed, str(error), now), None
    else:
        findings = [it.finding for it in observed.candidates if it.finding]
        choice = capacity.choose(spec, before, findings, now)
        until = choice.until
        status = _usable(pool, before, spec, observed, choice, now, defaults.families)
    plain = status.plain()
    waits = [observed.decision.requeue_after, None if until is None else until - now]
    return Plan(
        status=plain if plain != pool.status else None,
        events=_events(pool.meta.name, before, observed.decision.life),
        requeue_after=min((wait for wait in waits if wait is not None), default=None),
    )


def _events(pool: str, before: ComputePoolStatus, life: Life | None) -> tuple[Event, ...]:
    """Return the Event of a transition; the status that goes with it makes it the only one."""
    if life is None:
        return ()
    if life.waking:
        return (Event("Normal", "Resumed", pool_life.resuming(pool)),)
    if life.asleep and before.suspended_since is None:
        return (Event("Normal", "Suspended", pool_life.suspended(life, pool)),)
    return ()


def _usable(
    pool: Resource,
    before: ComputePoolStatus,
    spec: ComputePoolSpec,
    observed: Observed,
    choice: capacity.Choice,
    now: float,
    catalogue: families.Catalogue,
) -> ComputePoolStatus:
    life = observed.decision.life or Life()
    held = observed.decision.held
    jobs, queued = _numbers(observed)
    changed = (before.jobs, before.queued) != (jobs, queued) or life.waking
    conditions = ConditionList(before.conditions, now)
    if life.asleep:
        words = pool_life.suspended(life, pool.meta.name)
        conditions.set("Ready", True, "Suspended", words)
        conditions.set(pool_life.SUSPENDED, True, life.asleep, words)
    else:
        words = f"The pool takes jobs. {network_profiles.remark(spec.network)}".rstrip()
        conditions.set("Ready", True, "Accepted", words)
    capacity.tell(conditions, choice)
    running = sum(candidate.pods.running for candidate in observed.candidates)
    return ComputePoolStatus(
        state=pool_life.state(life, held=held, warm=0, wanted=held, ready=running),
        instance_family=choice.family,
        shape=families.in_words(spec, choice.family, catalogue),
        nodes=PoolNodes(target=held, active=held, max=spec.max_nodes, summary=f"{held}/0/{spec.max_nodes}"),
        jobs=jobs,
        queued=queued,
        queue=_queue(observed) if spec.queue.disclose == "Names" else (),
        heads=head.told(observed.decision.heads),
        last_activity_time=before.last_activity_time
        if before.last_activity_time and not changed
        else times.stamp(now),
        suspended_since=times.stamp(life.since) if life.asleep else None,
        conditions=conditions.all(),
        observed_generation=pool.meta.generation,
    )


def _unusable(
    pool: Resource, before: ComputePoolStatus, observed: Observed, error: str, now: float
) -> ComputePoolStatus:
    """Return the status of a pool whose spec is wrong; once that is mended, its life goes on as it was."""
    jobs, queued = _numbers(observed)
    held = observed.decision.held
    conditions = ConditionList(before.conditions, now)
    conditions.set("Ready", False, "InvalidSpec", error).set("Stalled", True, "InvalidSpec", error)
    conditions.keep(pool_life.SUSPENDED, capacity.CONDITION)
    return before.model_copy(
        update={
            "instance_family": "",
            "shape": "",
            "nodes": PoolNodes(target=held, active=held, summary=f"{held}/0/0"),
            "jobs": jobs,
            "queued": queued,
            "queue": (),
            "conditions": conditions.all(),
            "observed_generation": pool.meta.generation,
        }
    )


def _numbers(observed: Observed) -> tuple[int, int]:
    """Return how many hold nodes, and how many wait."""
    verdicts = observed.decision.verdicts
    admitted = {uid for uid, verdict in verdicts.items() if verdict.admit}
    holders = sum(bool(it.held) or it.uid in admitted for it in observed.candidates)
    waiting = sum(not (it.blocked or it.admitted or it.uid in admitted) for it in observed.candidates)
    return holders, waiting


def _queue(observed: Observed) -> tuple[QueueEntry, ...]:
    """Return the first of those that wait in the line, in the order in which they are served."""
    verdicts = observed.decision.verdicts
    seen = [(verdicts[it.uid], it) for it in observed.candidates if it.uid in verdicts]
    shown = [(verdict, it) for verdict, it in seen if 0 < verdict.position <= places.EXACT]
    return tuple(
        QueueEntry(
            kind=candidate.kind,
            namespace=candidate.namespace,
            name=candidate.name,
            position=verdict.position,
            nodes=candidate.nodes,
            priority=candidate.priority,
            since=times.stamp(candidate.created),
            reason=verdict.reason,
        )
        for verdict, candidate in sorted(shown, key=lambda place: place[0].position)
    )
