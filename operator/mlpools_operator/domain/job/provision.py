"""What an attempt needs in the cluster: Service, policy, and a Job with as many pods as it has nodes."""

from __future__ import annotations

from dataclasses import replace

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InvalidSpec
from mlpools_operator.domain import naming
from mlpools_operator.domain.attempt import children
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.job import ends
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.job.step import Step
from mlpools_operator.domain.observed import JobChild
from mlpools_operator.domain.plan import Object, Plan, Scale
from mlpools_operator.domain.pods import indexed_job, network, network_profiles
from mlpools_operator.domain.pool import families
from mlpools_operator.domain.pool.families import Family


def plan(
    step: Step, job: JobChild | None, observed: Observed, defaults: Defaults, status: dict[str, object]
) -> Plan:
    """Return the plan with that status, and with what the attempt still needs."""
    scale = _scaled(step, job)
    if observed.pool is None:
        # Running attempts need no pool any more; one without a Job cannot be built without it.
        if job:
            return Plan(scale=scale, status=status)
        words = f"pool {step.spec.compute_pool} was deleted before its pods were made"
        return ends.fail(step, ends.obstacle("PoolNotFound", words))
    try:
        pool = families.read(observed.pool.spec, defaults.families)
        family = families.find(pool, step.draft.before.instance_family, defaults.families)
    except InvalidSpec as error:
        if job:
            return Plan(scale=scale, status=status)
        return ends.fail(step, ends.obstacle("PoolNotFound", str(error)))
    owner, name = step.job, step.spec.compute_pool
    made = children.steps(
        owner,
        network.children(step.kind.name, owner, name, defaults, isolated=_isolated(job, pool)),
        _built(step, pool, family, defaults),
        (*observed.children, *observed.foreign),
        observed.jobs,
        observed.pods,
        admitted_for=step.now - step.draft.admitted_at,
        grace=step.grace,
    )
    if made.conflict is not None and step.draft.running:
        return Plan(scale=scale, status=status)  # pods that have found each other need no names any more
    if made.conflict is not None:
        taken = made.conflict
        words = (
            f"a {taken.kind} named {taken.meta.name} is there that is not this job's; "
            "delete it, or give the job another name"
        )
        return ends.fail(step, ends.obstacle("NameConflict", words))
    return Plan(made.delete, made.apply, scale, made.create, status, requeue_after=made.look_after)


def _scaled(step: Step, job: JobChild | None) -> tuple[Scale, ...]:
    """Return what gives the attempt's Job as many pods as its status says it has nodes."""
    if job is None or job.ended or job.meta.deleting:
        return ()
    pods = step.kind.holding.pods(job, step.size)
    if pods == job.parallelism:
        return ()
    return (Scale(job.meta.namespace, job.meta.name, job.meta.uid, pods),)


def _built(step: Step, pool: ComputePoolSpec, family: Family, defaults: Defaults) -> Object:
    """Return the attempt's Job as it is to be made."""
    work = step.kind.work(step.spec)
    learned = step.kind.account.learned(step.draft.before)
    return indexed_job.indexed_job(
        step.kind.name,
        step.job,
        step.spec,
        replace(work, section={**work.section, **learned}),
        step.kind.holding.form(step.spec, step.size),
        pool,
        family,
        step.attempt,
        defaults,
        step.avoided,
    )


def _isolated(job: JobChild | None, pool: ComputePoolSpec) -> bool:
    """Whether the attempt has a NetworkPolicy: what its pool said when its Job was made holds to its end."""
    if job is None:
        return network_profiles.is_isolated(pool.network)
    return job.meta.annotations.get(naming.ISOLATION) != "false"
