"""The children of an admitted attempt: what is missing, what changed, what has to go first.

Service and NetworkPolicy are applied when what we build has changed, and go when they are not wanted any
more. The attempt's Job is created once and never touched again, so a newer operator cannot disturb pods
that run.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from mlpools_operator.domain import naming
from mlpools_operator.domain.attempt.failures import is_machine_gone
from mlpools_operator.domain.observed import Child, JobChild, Meta, PodChild, Resource
from mlpools_operator.domain.plan import Delete, Object
from mlpools_operator.domain.pool.holding import KILL_SECONDS, is_live

#: How long children of an earlier job of the same name may take to be collected.
PREDECESSOR_SECONDS = 60.0
#: Until the next look at what has to go first.
_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Steps:
    """The next writes for an attempt's children.

    Attributes:
        conflict: an object of somebody else has a name that we need.
        look_after: seconds until the next look at something that is on its way out.
    """

    delete: tuple[Delete, ...] = ()
    apply: tuple[Object, ...] = ()
    create: tuple[Object, ...] = ()
    conflict: Child | None = None
    look_after: float | None = None


def without_permission(owner: Meta, jobs: Sequence[JobChild], pods: Sequence[PodChild]) -> tuple[Delete, ...]:
    """Return deletions of the Jobs that run, or could, although their owner is not admitted.

    A Job that has ended stays with its pods, for whoever wants to look at them.
    """
    return tuple(
        deletion(job)
        for job in _own(owner, jobs)
        if not job.ended and not job.meta.deleting and is_live(job, pods)
    )


def never_ending(owner: Meta, jobs: Sequence[JobChild], pods: Sequence[PodChild]) -> tuple[Delete, ...]:
    """Return deletions of the Jobs of a job that has ended which would go on for ever, holding nodes.

    Once a pod of a gang has ended, the Job controller stops the others by itself, and what they left can be
    looked at; but if all of them wait, for an image that never comes or a volume, it waits too. And where it
    replaces pods, it goes on doing so.
    """
    replacing = {job.meta.uid for job in jobs if job.replaces}
    ended = {pod.job for pod in pods if pod.terminal} - replacing
    waiting = [job for job in jobs if job.meta.uid not in ended]
    return without_permission(owner, waiting, pods)


def everything(owner: Meta, there: Sequence[Child], jobs: Sequence[JobChild]) -> tuple[Delete, ...]:
    """Return deletions of all children of a job that has ended; pods go with their Jobs."""
    mine = [Child("Job", job.meta) for job in jobs]
    return tuple(
        Delete(child.kind, child.meta.namespace, child.meta.name, child.meta.uid)
        for child in (*there, *mine)
        if child.meta.owner == owner.uid and not child.meta.deleting
    )


def steps(
    owner: Resource,
    wanted: Sequence[Object],
    attempt_job: Object,
    there: Sequence[Child],
    jobs: Sequence[JobChild],
    pods: Sequence[PodChild],
    *,
    admitted_for: float,
    grace: float,
) -> Steps:
    """Return what an attempt needs next.

    Args:
        owner: the job.
        wanted: its other children, as built.
        attempt_job: the Job of the attempt, as built.
        there: children of these names, whoever owns them.
        jobs: Jobs of this owner, and Jobs of others with a name that we need.
        pods: of all attempts.
        admitted_for: seconds since the attempt was admitted.
        grace: seconds that a pod has between SIGTERM and SIGKILL.
    """
    names = {(child["kind"], child["metadata"]["name"]) for child in (*wanted, attempt_job)}
    others = [
        child
        for child in (*there, *(Child("Job", job.meta) for job in jobs))
        if (child.kind, child.meta.name) in names and child.meta.owner != owner.meta.uid
    ]
    for child in others:
        if not _is_predecessor(child, owner) or admitted_for >= PREDECESSOR_SECONDS:
            return Steps(conflict=child)
    if others:
        return Steps(look_after=_LOOK_SECONDS)
    name = attempt_job["metadata"]["name"]
    older = [job for job in _own(owner.meta, jobs) if job.meta.name != name]
    delete = (
        *(deletion(job) for job in older if not job.meta.deleting),
        *(deletion(child) for child in there if _is_surplus(child, owner, names)),
    )
    apply = tuple(child for child in wanted if is_due(child, there))
    if any(job.meta.name == name for job in jobs):
        return Steps(delete, apply)
    attempt = attempt_job["metadata"]["labels"][naming.ATTEMPT]
    if _may_still_run(attempt, older, pods, admitted_for - grace):
        return Steps(delete, look_after=_LOOK_SECONDS)
    return Steps(delete, apply, (attempt_job,))


def deletion(child: Child | JobChild) -> Delete:
    """Return the deletion of a child; the pods that it made get SIGTERM and their grace."""
    return Delete(child.kind, child.meta.namespace, child.meta.name, child.meta.uid)


def _own(owner: Meta, jobs: Sequence[JobChild]) -> list[JobChild]:
    return [job for job in jobs if job.meta.owner == owner.uid]


def _may_still_run(attempt: str, older: Sequence[JobChild], pods: Sequence[PodChild], overdue: float) -> bool:
    """Whether an earlier attempt might still write checkpoints.

    A pod on a machine that is gone never tells that it ended, so it is waited for only as long as a
    machine that lives would need to kill it.
    """
    if any(not job.ended and not job.meta.deleting and is_live(job, pods) for job in older):
        return True
    running = [pod for pod in pods if str(pod.attempt) != attempt and not pod.terminal]
    return overdue < KILL_SECONDS and any(not is_machine_gone(pod) for pod in running)


def is_due(child: Object, there: Sequence[Child]) -> bool:
    """Whether a child is to be applied: it is absent or was built otherwise, and is not on its way out."""
    key = (child["kind"], child["metadata"]["name"])
    found = next((it.meta for it in there if (it.kind, it.meta.name) == key), None)
    if found is None:
        return True
    return not found.deleting and found.spec_hash != naming.spec_hash(child)


def _is_surplus(child: Child, owner: Resource, names: Container[tuple[str, str]]) -> bool:
    """Whether an earlier attempt needed a child that this one does not: a NetworkPolicy."""
    key = (child.kind, child.meta.name)
    return child.meta.owner == owner.meta.uid and key not in names and not child.meta.deleting


def _is_predecessor(child: Child, owner: Resource) -> bool:
    """Whether a child belonged to an earlier object of the owner's name, and will be collected."""
    labels = child.meta.labels
    return (
        labels.get(naming.MANAGED_BY) == naming.MANAGER
        and labels.get(naming.JOB_NAME) == naming.label_value(owner.meta.name)
        and labels.get(naming.JOB_UID) not in ("", None, owner.meta.uid)
    )
