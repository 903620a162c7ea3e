"""What a plan for one job reads."""

from __future__ import annotations

from dataclasses import dataclass

from mlpools.contract.reports import Report
from mlpools_operator.domain.observed import Child, JobChild, PodChild, Resource, Unheard
from mlpools_operator.domain.pool.half_gangs import HalfGang
from mlpools_operator.domain.pool.ledger import Verdict


@dataclass(frozen=True, slots=True)
class Observed:
    """The world around one job, as far as its plan depends on it.

    Attributes:
        pool: None if there is none of that name.
        verdict: admission's; None while it has not looked.
        children: Services and NetworkPolicies of the job, and others of the same names.
        jobs: Jobs of the job, and others of the same names.
        pods: of all its attempts.
        report: newest of rank 0, None before the first.
        unheard: why none comes from the present attempt; None while one may be on its way.
        half_gangs: of all pools, this job's among them; none while it is not one of them.
        runs: that a template made.
        foreign: objects of other owners for which a child of this attempt was refused.
        refused: the API server's words when it refused a child of this attempt.
    """

    pool: Resource | None
    verdict: Verdict | None
    children: tuple[Child, ...] = ()
    jobs: tuple[JobChild, ...] = ()
    pods: tuple[PodChild, ...] = ()
    report: Report | None = None
    unheard: Unheard | None = None
    half_gangs: tuple[HalfGang, ...] = ()
    runs: tuple[Resource, ...] = ()
    foreign: tuple[Child, ...] = ()
    refused: str = ""
