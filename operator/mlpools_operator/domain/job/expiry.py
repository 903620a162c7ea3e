"""What is left of a job that has ended: all of it, and after its TTL nothing, or the object alone."""

from __future__ import annotations

from mlpools_operator.domain import times
from mlpools_operator.domain.attempt import children
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.job.status import Draft
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Delete, Plan


def plan(job: Resource, observed: Observed, draft: Draft, now: float) -> Plan:
    """Plan for a job that has ended.

    A tool that tracks the object would make it again if it were deleted, and it would run once more, for
    ever; so then the object stays and says so, and only its children go.
    """
    going = children.never_ending(job.meta, observed.jobs, observed.pods)
    told = draft.keep().plain() if draft.was_paused else None
    ttl = job.spec.get("ttlSecondsAfterFinished")
    if ttl is None:
        return Plan(delete=going, status=told)
    left = times.seconds(draft.before.completion_time) + ttl - now
    if left > 0:
        return Plan(delete=going, status=told, requeue_after=left)
    if job.meta.tracked_by:
        everything = children.everything(job.meta, observed.children, observed.jobs)
        return Plan(delete=everything, status=draft.expired(job.meta.tracked_by, ttl).plain())
    return Plan(delete=(Delete(draft.kind.name, job.meta.namespace, job.meta.name, job.meta.uid),))
