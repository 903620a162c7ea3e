"""The decisions about jobs, for a TrainingJob."""

from __future__ import annotations

from collections.abc import Sequence

from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.job import asking, lifecycle
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.observed import JobChild, PodChild, Resource
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.domain.training.kind import TRAINING_JOB

__all__ = ["Observed", "candidate", "plan"]


def candidate(
    job: Resource, jobs: Sequence[JobChild], pods: Sequence[PodChild], now: float
) -> Candidate | None:
    """Return a TrainingJob as admission sees it."""
    return asking.candidate(TRAINING_JOB, job, jobs, pods, now)


def plan(job: Resource, observed: Observed, now: float, defaults: Defaults) -> Plan:
    """Plan the next writes for a TrainingJob."""
    return lifecycle.plan(TRAINING_JOB, job, observed, now, defaults)
