"""A ComputePool: what it says of itself. Who gets its nodes is ``admission``'s decision."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlpools_operator.api.v1alpha1 import (
    ComputePoolSpec,
    ComputePoolStatus,
    Condition,
    InvalidSpec,
    PoolNodes,
    QueueEntry,
)
from mlpools_operator.api.v1alpha1.notebookruntime import NOTEBOOK_RUNTIME
from mlpools_operator.domain import paused, times
from mlpools_operator.domain.computepool import placeholders, warm_search
from mlpools_operator.domain.computepool.placeholders import Warm
from mlpools_operator.domain.computepool.warm_search import Search
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import Child, PodChild, Resource
from mlpools_operator.domain.plan import Event, Plan
from mlpools_operator.domain.pods import network_profiles
from mlpools_operator.domain.pool import capacity, fabric, families
from mlpools_operator.domain.pool import life as pool_life
from mlpools_operator.domain.pool.ledger import Candidate, Decision
from mlpools_operator.domain.pool.life import Life
from mlpools_operator.domain.queue import head, places

#: Until placeholders that the cluster refused are tried again, if nothing happens before.
_REFUSED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What a pool's plan reads.

    Attributes:
        decision: of the same candidates.
        candidates: all that hold nodes of the pool or ask for them.
        pods: its placeholders.
        foreign: objects of other owners for which a placeholder was refused.
        refused: the API server's words when it refused a placeholder.
    """

    decision: Decision
    candidates: tuple[Candidate, ...]
    pods: tuple[PodChild, ...] = ()
    foreign: tuple[Child, ...] = ()
    refused: str = ""


def plan(pool: Resource, observed: Observed, now: float, defaults: Defaults) -> Plan:
    """Plan the pool's placeholders and its status."""
    if pool.meta.deleting:
        return Plan()
    before = ComputePoolStatus.model_validate(pool.status)
    waits = [observed.decision.requeue_after]
    if paused.asked(pool.meta):
        shown = before.model_copy(update={"conditions": paused.shown(before.conditions, now)}).plain()
        return Plan(status=shown if shown != pool.status else None, requeue_after=waits[0])
    view = _View(pool, before, observed, now)
    try:
        spec = families.read(pool.spec, defaults.families)
    except InvalidSpec as error:
        warm = placeholders.left_alone(observed.pods)
        status = _unusable(view, warm, str(error))
    else:
        family = capacity.in_use(spec, view.before)
        search = _search(view, spec, family, defaults)
        found = (search.finding, *(it.finding for it in observed.candidates))
        choice = capacity.choose(spec, view.before, filter(None, found), now)
        warm = _warm(view, spec, family, defaults)
        status = _usable(view, spec, choice, warm, defaults.families)
        waits.append(None if choice.until is None else choice.until - now)
        waits.append(0.0 if choice.family != family else search.look_after)
    if observed.refused and warm.create:
        warm = replace(warm, create=())
        waits.append(_REFUSED_SECONDS)
    plain = status.plain()
    return Plan(
        delete=warm.delete,
        create=warm.create,
        status=plain if plain != pool.status else None,
        events=_events(pool.meta.name, view.before, observed.decision.life),
        requeue_after=min((wait for wait in waits if wait is not None), default=None),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """What one pass sees of one pool."""

    pool: Resource
    before: ComputePoolStatus
    observed: Observed
    now: float

    @property
    def life(self) -> Life:
        return self.observed.decision.life or Life()


def _search(view: _View, spec: ComputePoolSpec, family: str, defaults: Defaults) -> Search:
    """Return what the warm nodes found, if the pool is awake and nobody else asks it for machines."""
    used = view.observed.decision.held or view.observed.decision.waiting
    if used or not view.life.open or not view.observed.pods:
        return Search()
    machines = families.find(spec, family, defaults.families)
    return warm_search.look(
        view.observed.pods,
        placeholders.shape_of(view.pool, spec, machines, defaults),
        family,
        idle_since=pool_life.idle_since(view.before, view.now),
        patience=float(spec.capacity_timeout_seconds),
        now=view.now,
    )


def _warm(view: _View, spec: ComputePoolSpec, family: str, defaults: Defaults) -> Warm:
    observed = view.observed
    return placeholders.steps(
        view.pool,
        spec,
        families.find(spec, family, defaults.families),
        observed.candidates,
        observed.pods,
        observed.foreign,
        defaults,
        held=observed.decision.held,
        awake=view.life.open,
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
    view: _View, spec: ComputePoolSpec, choice: capacity.Choice, warm: Warm, catalogue: families.Catalogue
) -> ComputePoolStatus:
    life, before, held = view.life, view.before, view.observed.decision.held
    (jobs, notebooks), queued = _holders(view.observed), view.observed.decision.waiting
    told = (before.jobs, before.notebooks, before.queued)
    changed = told != (jobs, notebooks, queued) or life.waking
    wanted = held + warm.target
    running = sum(candidate.pods.running for candidate in view.observed.candidates)
    return ComputePoolStatus(
        state=pool_life.state(life, held=held, warm=warm.there, wanted=wanted, ready=running + warm.ready),
        instance_family=choice.family,
        shape=families.in_words(spec, choice.family, catalogue),
        nodes=PoolNodes(
            target=wanted,
            active=held,
            idle=warm.ready,
            min=spec.min_nodes,
            max=spec.max_nodes,
            summary=f"{held}/{warm.ready}/{spec.max_nodes}",
        ),
        jobs=jobs,
        notebooks=notebooks,
        queued=queued,
        queue=_queue(view.observed) if spec.queue.disclose == "Names" else (),
        heads=head.told(view.observed.decision.heads),
        last_activity_time=times.stamp(view.now)
        if changed or not before.last_activity_time
        else before.last_activity_time,
        suspended_since=times.stamp(life.since) if life.asleep else None,
        lacked_capacity=capacity.remember(choice.finding),
        conditions=_conditions(view, spec, choice, warm),
        observed_generation=view.pool.meta.generation,
    )


def _conditions(
    view: _View, spec: ComputePoolSpec, choice: capacity.Choice, warm: Warm
) -> tuple[Condition, ...]:
    conditions = ConditionList(view.before.conditions, view.now)
    refused = view.observed.refused if warm.create else ""
    if view.life.asleep:
        words = pool_life.suspended(view.life, view.pool.meta.name)
        conditions.set("Ready", True, "Suspended", words)
        conditions.set(pool_life.SUSPENDED, True, view.life.asleep, words)
    elif refused:
        words = f"The pool takes jobs, but its warm nodes cannot be made: {refused}"
        conditions.set("Ready", True, "PlaceholdersRefused", words)
    else:
        words = f"The pool takes jobs. {network_profiles.remark(spec.network)}".rstrip()
        conditions.set("Ready", True, "Accepted", words)
    capacity.tell(conditions, choice)
    checks = (it.fabric for it in view.observed.candidates)
    fabric.tell(conditions, spec, view.before.conditions, checks)
    return conditions.all()


def _unusable(view: _View, warm: Warm, error: str) -> ComputePoolStatus:
    """Return the status of a pool whose spec is wrong; once that is mended, its life goes on as it was."""
    (jobs, notebooks), queued = _holders(view.observed), view.observed.decision.waiting
    held = view.observed.decision.held
    conditions = ConditionList(view.before.conditions, view.now)
    conditions.set("Ready", False, "InvalidSpec", error).set("Stalled", True, "InvalidSpec", error)
    conditions.keep(pool_life.SUSPENDED, capacity.CONDITION, fabric.CONDITION)
    nodes = PoolNodes(
        target=held + warm.target, active=held, idle=warm.ready, summary=f"{held}/{warm.ready}/0"
    )
    changes = {
        "instance_family": "",
        "shape": "",
        "nodes": nodes,
        "jobs": jobs,
        "notebooks": notebooks,
        "queued": queued,
        "queue": (),
        "conditions": conditions.all(),
        "observed_generation": view.pool.meta.generation,
    }
    return view.before.model_copy(update=changes)


def _holders(observed: Observed) -> tuple[int, int]:
    """Return how many jobs and how many notebooks hold nodes, or are about to."""
    verdicts = observed.decision.verdicts
    admitted = {uid for uid, verdict in verdicts.items() if verdict.admit}
    holders = [it for it in observed.candidates if it.held or it.uid in admitted]
    notebooks = sum(it.kind == NOTEBOOK_RUNTIME.name for it in holders)
    return len(holders) - notebooks, notebooks


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
