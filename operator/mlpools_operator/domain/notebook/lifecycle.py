"""A notebook: waiting for a node, serving, stopped, and started again, for as long as it is there.

As with jobs a pass admits, or applies, or tells: one that admits writes only the status, and one that stops
something says first why, so a crash in between can neither lose nor double a node, nor forget a reason.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import InvalidSpec, parse
from mlpools_operator.domain import paused, times
from mlpools_operator.domain.attempt import children as children_of
from mlpools_operator.domain.attempt import stopping
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import (
    children,
    cluster,
    holder,
    idle,
    ingress,
    pod,
    rest,
    scheduled,
    starting,
    upkeep,
    volumes,
)
from mlpools_operator.domain.notebook.idle import Idleness
from mlpools_operator.domain.notebook.observed import Observed
from mlpools_operator.domain.notebook.status import Draft
from mlpools_operator.domain.notebook.step import Step
from mlpools_operator.domain.observed import PodChild, Resource
from mlpools_operator.domain.plan import Delete, Event, Plan
from mlpools_operator.domain.pool import capacity, families
from mlpools_operator.domain.pool.holding import KILL_SECONDS
from mlpools_operator.domain.pool.ledger import Verdict
from mlpools_operator.domain.queue import places

_NO_VERDICT = Verdict(False)
_NO_MACHINE = "Unschedulable"
#: Verdicts about the notebook itself: it cannot run on this pool as it is.
_MISTAKES = frozenset({"TooLarge", "InvalidSpec", "PackageNotAllowed"})


def plan(notebook: Resource, observed: Observed, now: float, defaults: Defaults) -> Plan:
    """Plan the next writes for a notebook; equal arguments give equal plans."""
    if notebook.meta.deleting:
        return Plan()
    draft = Draft(notebook, now)
    if paused.asked(notebook.meta):
        made = Plan(status=draft.paused().plain())
    else:
        try:
            spec = parse(children.KIND, notebook.spec)
        except InvalidSpec as error:
            made = Plan(status=draft.refused("InvalidSpec", str(error)).plain())
        else:
            turn = scheduled.turn(Step(notebook, spec, draft, observed, now), defaults)
            step = Step(notebook, spec, turn.draft, observed, now)
            made = _plan_admitted(step, defaults) if draft.admitted else _plan_waiting(step, defaults)
            made = turn.joined(made, draft)
    return replace(made, status=None) if made.status == notebook.status else made


def _plan_waiting(step: Step, defaults: Defaults) -> Plan:
    """Plan for a notebook that holds no node."""
    notebook, draft, observed = step.notebook, step.draft, step.observed
    makers = (*observed.sets, *observed.nodes)
    delete = children_of.without_permission(notebook.meta, makers, observed.pods)
    wrong = ingress.refusal(step.spec, defaults)
    if wrong is not None:
        return _refuse(step, delete, wrong)
    why = rest.demand(notebook, step.spec, draft, observed.pool, step.now)
    if why is not None:
        status = draft.rests(why).plain()
        return Plan(delete=delete, status=status, requeue_after=rest.until_wanted(notebook, step.now))
    if draft.rest is not None:
        return Plan(
            delete=delete,
            status=draft.queued(
                "Resumed", message="It is to start again, and queues.", verdict=_NO_VERDICT
            ).plain(),
        )
    if draft.before.run is not None:
        waits = draft.queued(holder.IN_USE, holder.words(draft.before.run), _NO_VERDICT)
        return Plan(delete=delete, status=waits.plain())
    if observed.pool is None:
        message = (
            f"There is no pool {step.spec.compute_pool}. The notebook starts when there is one: "
            "ask your administrator for it, or make a notebook with another computePool."
        )
        return Plan(delete=delete, status=draft.queued("PoolNotFound", message, _NO_VERDICT).plain())
    verdict = observed.verdict
    current = verdict and verdict.holds_for(draft.before.attempt + 1, notebook.meta.generation)
    if verdict is None or not current or verdict.reason == holder.IN_USE:  # of before the run's end
        return Plan(delete=delete, status=draft.keep().plain() if notebook.status else None)
    if verdict.admit:
        return _admit(step, observed.pool, defaults)
    if verdict.reason in _MISTAKES:
        return _refuse(step, delete, Stop(verdict.reason, verdict.message))
    place = places.place(draft.before.queue, verdict.reason, verdict.message, verdict, step.now)
    wait = places.stands_for(draft.before.queue, place, step.now)
    if wait:
        return Plan(delete=delete, status=draft.keep().plain(), requeue_after=wait)
    return Plan(delete=delete, status=draft.queued(verdict.reason, verdict.message, verdict).plain())


def _refuse(step: Step, delete: tuple[Delete, ...], wrong: Stop) -> Plan:
    """Say why it cannot run as it is, once by an Event too."""
    refused = step.draft.refused(wrong.reason, wrong.message)
    told = refused.reason == step.draft.before.reason
    event = Event("Warning", wrong.reason, wrong.message)
    return Plan(delete=delete, status=refused.plain(), events=() if told else (event,))


def _admit(step: Step, pool: Resource, defaults: Defaults) -> Plan:
    """Plan for a notebook that gets its node; a pool that became unusable meanwhile will say why."""
    try:
        offer = families.read(pool.spec, defaults.families)
    except InvalidSpec:
        return Plan(status=step.draft.keep().plain())
    in_use = str(pool.status.get("instanceFamily", ""))
    family = capacity.begin_with(offer, step.draft.before, in_use, step.now)
    token = children.token_name(step.notebook, step.spec)
    return Plan(status=step.draft.admit(step.spec, family, token).plain(), requeue_after=0.0)


def _plan_admitted(step: Step, defaults: Defaults) -> Plan:
    """Plan for a notebook that holds its node."""
    told = step.draft.stop
    wanted = told or rest.demand(step.notebook, step.spec, step.draft, step.observed.pool, step.now)
    if wanted is not None:
        return _stop(step, wanted)
    size = cluster.size(
        step.spec, step.draft.before, step.made, step.observed.verdict, step.notebook.meta.generation
    )
    if size != cluster.held(step.draft.before):
        return Plan(status=step.draft.resized(size).plain(), requeue_after=0.0)
    if not _runs(step.pod):
        return _start(step, None, defaults)
    idleness = _idleness(step)
    if idleness.look:
        return Plan(look=True, requeue_after=idleness.look_after)
    if idleness.stop:
        assert idleness.stops_at is not None
        return _stop(step, rest.idle(step.spec, idleness.used, busy=idleness.busy))
    if step.pod is not None and step.pod.ready:
        return _serve(step, idleness, defaults)
    return _start(step, idleness, defaults)


def _runs(found: PodChild | None) -> bool:
    """Whether the container runs, so that it can be seen how far it is used, whether it serves or not."""
    return found is not None and (found.ready or (bool(found.started) and found.waiting == ""))


def _stop(step: Step, why: Stop) -> Plan:
    """Stop it: first the status says why, then its StatefulSet goes, and once its pod has ended it rests."""
    draft, made = step.draft, step.made
    stopped_for = step.now - draft.stopping_since if draft.stop else 0.0
    if draft.stop and _is_over(step, stopped_for):
        follows = rest.demand(step.notebook, step.spec, draft, None, step.now)
        suspended = follows if follows and follows.reason == stopping.SUSPENDED else None
        if why.reason == _NO_MACHINE and suspended is None:
            return Plan(status=draft.queued(why.reason, why.message, _NO_VERDICT).plain(), requeue_after=0.0)
        return Plan(status=draft.rests(suspended or why).plain(), requeue_after=0.0)
    status = draft.stops(why).plain()
    if draft.stop is None:
        event = Event("Normal", why.reason, why.message)
        return Plan(status=status, events=(event,), requeue_after=0.0)
    further = cluster.ends(step.jobs, step.observed.pods, step.now)
    if made is None or made.meta.deleting:
        overdue = pod.GRACE_SECONDS + KILL_SECONDS - stopped_for
        return Plan(delete=further, status=status, requeue_after=max(0.0, overdue))
    if not stopping.may_be_deleted(made, step.own, step.now):
        again = made.meta.created + stopping.NEWS_SECONDS - step.now
        return Plan(delete=further, status=status, requeue_after=again)
    delete = (children_of.deletion(made), *further)
    return Plan(delete=delete, status=status, requeue_after=pod.GRACE_SECONDS)


def _is_over(step: Step, stopped_for: float) -> bool:
    """Whether nothing of it runs any more, its further nodes neither."""
    rest_of = {"stopped_for": stopped_for, "grace": pod.GRACE_SECONDS}
    if not stopping.is_over(step.made, step.own, **rest_of):
        return False
    going = all(it.meta.deleting for it in step.jobs)
    return going and stopping.is_over(None, step.further, **rest_of)


def _idleness(step: Step) -> Idleness:
    draft = step.draft
    if draft.serving:
        began = draft.serving_since
    else:
        began = step.now if step.pod is not None and step.pod.ready else draft.admitted_at
    told = times.seconds(draft.before.last_activity_time)
    return idle.decide(step.spec, step.look, started=began, told=told, now=step.now)


def _serve(step: Step, idleness: Idleness, defaults: Defaults) -> Plan:
    steps = upkeep.steps(step, defaults)
    if steps.conflict:
        return steps.plan
    look, wrong = step.observed.look, ingress.refusal(step.spec, defaults)
    status = _drafted(step).serves(
        idleness,
        ingress.url(step.notebook, step.spec, defaults),
        steps.image or step.draft.before.image,
        gpu_unseen=look is not None and look.gpu_unseen,
        trouble=_trouble(step, wrong.message if wrong else ""),
        outdated=_outdated(step, steps.hash),
        outward=steps.outward,
    )
    refused = upkeep.REFUSED_SECONDS if step.observed.refused else None
    again = times.earliest(idleness.look_after, steps.plan.requeue_after, refused)
    # Nothing makes a pod that serves anew, but its further nodes come at any time.
    create = tuple(it for it in steps.plan.create if it["kind"] == "Job")
    made = replace(steps.plan, create=create, status=status.plain(), requeue_after=again)
    return _unrefused(step, made)


def _trouble(step: Step, wrong: str) -> str:
    """Say what is wrong although it answers: first what may yet get worse."""
    seen = step.look.trouble if step.look else ""
    return seen or wrong or _refusal(step) or starting.out_of_memory(step.pod)


def _refusal(step: Step) -> str:
    words = step.observed.refused
    return f"The cluster refuses what it should have besides, and is asked again: {words}" if words else ""


def _outdated(step: Step, wanted: str) -> str:
    """Say that what runs is not what the next start would bring."""
    made = step.made
    if made is None or not wanted or made.meta.spec_hash == wanted:
        return ""
    return "What it runs as has changed since it was started: stop it and start it again to have that."


def _is_dead_too_long(step: Step) -> bool:
    """Whether its program has ended again and again for as long as it may be unused."""
    pod_, seconds = step.pod, step.spec.idle_seconds
    last = max(step.draft.admitted_at, times.seconds(step.draft.before.last_activity_time))
    fails = pod_ is not None and pod_.waiting == starting.CRASHES
    return fails and bool(seconds) and step.now >= last + seconds


def _start(step: Step, idleness: Idleness | None, defaults: Defaults) -> Plan:
    if _is_dead_too_long(step):
        last = times.seconds(step.draft.before.last_activity_time)
        return _stop(step, rest.idle(step.spec, last, busy=False))
    given_up = _give_up(step, defaults)
    if given_up is not None:
        return given_up
    steps = upkeep.steps(step, defaults)
    if steps.conflict:
        return steps.plan
    observed, family = step.observed, step.draft.before.instance_family
    found = volumes.hindrance(observed.told, step.own, observed.claim, step.now) or starting.hindrance(
        step.made, step.pod, observed.claim, step.look, family, step.now
    )
    refused = observed.refused or observed.unmade
    if refused:
        message = f"The cluster refuses what it needs, and is asked again: {refused}"
        found = starting.Hindrance("PodsRefused", message, upkeep.REFUSED_SECONDS)
    status = _drafted(step).starting(found.reason, found.message, steps.outward, idleness)
    due = idleness.look_after if idleness else _patience(step, defaults)
    again = times.earliest(found.look_after, due, steps.plan.requeue_after)
    return replace(_unrefused(step, steps.plan), status=status.plain(), requeue_after=again)


def _unrefused(step: Step, made: Plan) -> Plan:
    """Leave out for a while what the cluster has just refused: it would keep the status from being told."""
    return replace(made, apply=(), create=(), secrets=()) if step.observed.refused else made


def _patience(step: Step, defaults: Defaults) -> float | None:
    """Return the seconds until it gives up looking for a machine, None if it has one."""
    offer = upkeep.offer(step, defaults)
    if offer is None or step.pod is None or step.pod.node:
        return None
    left = step.pod.meta.created + offer[0].capacity_timeout_seconds - step.now
    return left if left > 0 else None


def _give_up(step: Step, defaults: Defaults) -> Plan | None:
    """Give the node back if no machine was found for it in time; it queues again, for the next family."""
    offer = upkeep.offer(step, defaults)
    seconds = offer[0].capacity_timeout_seconds if offer else math.inf
    words = starting.lacking(step.pod, seconds, step.now)
    if offer is None or not words:
        return None
    family = step.draft.before.instance_family
    following = families.following(offer[0], family)
    which = f"machine of family {family}" if family else "machine"
    then = f", for a machine of family {following}" if following != family else ""
    message = (
        f"No {which} in {seconds} s (capacityTimeoutSeconds): {words.rstrip('.')}. It queues again{then}."
    )
    status = step.draft.lacks(Stop(_NO_MACHINE, message), words, following).plain()
    return Plan(status=status, events=(Event("Warning", _NO_MACHINE, message),), requeue_after=0.0)


def _drafted(step: Step) -> Draft:
    """Return the draft of the next status, with what is known of its cluster now."""
    draft, observed = step.draft, step.observed
    said = observed.verdict
    current = said and said.holds_for(draft.before.attempt, step.notebook.meta.generation)
    return draft.with_cluster(
        cluster.told(
            step.spec,
            draft.before,
            step.made,
            step.job,
            step.further,
            said if current else None,
            step.look,
            step.now,
        )
    )
