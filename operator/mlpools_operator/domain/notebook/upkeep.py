"""What stands around a notebook's pod: what is missing or changed, and which names somebody else has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InvalidSpec
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.attempt import children as children_of
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import children, cluster, nodes, outward, pod, starting
from mlpools_operator.domain.notebook.step import Step
from mlpools_operator.domain.observed import Child
from mlpools_operator.domain.plan import Object, Plan
from mlpools_operator.domain.pods import network_profiles
from mlpools_operator.domain.pool import families
from mlpools_operator.domain.pool.families import Family

#: A token's Secret that was deleted is made again within two minutes: it is asked for so often.
TOKEN_SECONDS = 90.0
#: Until children that the cluster refused are tried again.
REFUSED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Steps:
    """The next writes for a notebook's children.

    Attributes:
        plan: with these writes only.
        conflict: it tells of a conflict, and is the whole plan.
        image: that the next start would run; empty if the pool cannot be used now.
        hash: of the StatefulSet of a start now.
        outward: what keeps it from connecting as its spec says.
    """

    plan: Plan
    conflict: bool = False
    image: str = ""
    hash: str = ""
    outward: starting.Hindrance | None = None


def steps(step: Step, defaults: Defaults) -> Steps:
    """Return what is missing or changed around the pod."""
    notebook, spec, observed, now = step.notebook, step.spec, step.observed, step.now
    attempt = step.draft.before.attempt
    found = offer(step, defaults)
    if found is None:
        return Steps(Plan(scale=cluster.scaled(step.job, cluster.held(step.draft.before))))
    pool, family = found
    wanted = [children.service(notebook, spec), *nodes.around(notebook, spec)]
    if network_profiles.is_isolated(pool.network):
        wanted.append(children.policy(notebook, spec, pool, observed.known, defaults))
    door = children.ingress_rule(notebook, spec, defaults)
    if door is not None:
        wanted.append(door)
    there = [*observed.children, *observed.foreign]
    built = children.stateful_set(notebook, spec, pool, family, attempt, defaults)
    next_steps = children_of.steps(
        notebook,
        wanted,
        built,
        there,
        observed.sets,
        observed.pods,
        admitted_for=now - step.draft.admitted_at,
        grace=pod.GRACE_SECONDS,
    )
    stranger = next_steps.conflict or _foreign_claim(step) or _foreign_job(step)
    if stranger is not None:
        kind, name = stranger.kind, stranger.meta.name
        message = (
            f"{kind} {name} of this namespace belongs to somebody else, and the notebook needs the name: "
            "delete or rename it, or make a notebook of another name."
        )
        status = step.draft.starting("NameConflict", message, None)
        return Steps(Plan(status=status.plain(), requeue_after=REFUSED_SECONDS), conflict=True)
    claim = children.workspace(notebook, spec, observed.claim)
    due = observed.claim is None or observed.claim.meta.spec_hash != naming.spec_hash(claim)
    apply = (*next_steps.apply, claim) if due else next_steps.apply
    token = children.token(notebook, spec)
    left = observed.token_at + TOKEN_SECONDS - now
    again = times.earliest(next_steps.look_after, (left if left > 0 else TOKEN_SECONDS) if token else None)
    further = cluster.held(step.draft.before)
    made = Plan(
        (*next_steps.delete, *cluster.surplus(step.jobs, step.job, further)),
        apply,
        cluster.scaled(step.job, further),
        (
            *(next_steps.create if _has_account(step, wanted) else ()),
            *_further(step, pool, family, further, defaults),
        ),
        secrets=() if left > 0 else token,
        requeue_after=again,
    )
    return Steps(
        made,
        image=pod.image(spec, pool, family, defaults),
        hash=naming.spec_hash(built),
        outward=outward.hindrance(spec, pool, observed.known),
    )


def _has_account(step: Step, wanted: Sequence[Object]) -> bool:
    """Whether the ServiceAccount of ours that the pod may need is there: without it the pod is refused."""
    there = {(it.kind, it.meta.name) for it in step.observed.children if not it.meta.deleting}
    needed = [(it["kind"], it["metadata"]["name"]) for it in wanted if it["kind"] == "ServiceAccount"]
    return all(key in there for key in needed)


def _further(
    step: Step, pool: ComputePoolSpec, family: Family, count: int, defaults: Defaults
) -> tuple[Object, ...]:
    """Return the Job of its further nodes, if it has some and no Job yet."""
    if not count or any(it.attempt == step.draft.before.attempt for it in step.jobs):
        return ()
    attempt = step.draft.before.attempt
    return (nodes.job(step.notebook, step.spec, pool, family, attempt, count, defaults),)


def _foreign_job(step: Step) -> Child | None:
    """Return the Job of somebody else that has the name of the one of its further nodes."""
    uid = step.notebook.meta.uid
    theirs = (it for it in step.observed.nodes if it.meta.owner != uid)
    other = next(theirs, None)
    return Child("Job", other.meta) if other and cluster.held(step.draft.before) else None


def _foreign_claim(step: Step) -> Child | None:
    """Return the claim of somebody else that has the workspace's name."""
    claim, kind = step.observed.claim, "PersistentVolumeClaim"
    if claim is not None and not naming.belongs(claim.meta, step.notebook.meta):
        return Child(kind, claim.meta)
    # One that nobody labelled as ours is not watched: only an attempt to make it met it.
    return next((it for it in step.observed.foreign if it.kind == kind), None)


def offer(step: Step, defaults: Defaults) -> tuple[ComputePoolSpec, Family] | None:
    """Return the pool and its machines; None if it cannot be used now, and then nothing is made."""
    if step.observed.pool is None:
        return None
    try:
        spec = families.read(step.observed.pool.spec, defaults.families)
        return spec, families.find(spec, step.draft.before.instance_family, defaults.families)
    except InvalidSpec:
        return None
