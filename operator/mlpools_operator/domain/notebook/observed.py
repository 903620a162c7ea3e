"""What a notebook's plan reads besides the notebook itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.observed import Child, ClaimChild, JobChild, PodChild, Resource, Told
from mlpools_operator.domain.pods.egress import Known
from mlpools_operator.domain.pool.ledger import Verdict


@dataclass(frozen=True, slots=True)
class Observed:
    """The world around one notebook.

    Attributes:
        pool: that it names; None if there is none.
        verdict: admission's; None while it has not looked.
        children: Services, NetworkPolicy and rights of the notebook, and others of the same names.
        sets: its StatefulSet, and others of the same name.
        nodes: the Jobs of its further nodes, and others of the same name.
        pods: of all its starts, those of further nodes too.
        claim: of its workspace, whoever made it.
        known: the addresses of what it may connect to.
        look: newest at its pod, None before the first.
        token_at: when its token's Secret was last known to be there; 0 before.
        runs: TrainingJobs that its schedule made.
        run_jobs: Jobs of the run that has its workspace.
        run_pods: its pods.
        foreign: objects of other owners for which a child was refused.
        refused: the API server's words when it refused what was just written.
        unmade: its words when it refused the pod, which another controller makes.
        told: by Events about a volume that its pod may be waiting for.
    """

    pool: Resource | None
    verdict: Verdict | None
    children: tuple[Child, ...] = ()
    sets: tuple[JobChild, ...] = ()
    nodes: tuple[JobChild, ...] = ()
    pods: tuple[PodChild, ...] = ()
    claim: ClaimChild | None = None
    known: Known = field(default_factory=Known)
    look: Look | None = None
    token_at: float = 0.0
    runs: tuple[Resource, ...] = ()
    run_jobs: tuple[JobChild, ...] = ()
    run_pods: tuple[PodChild, ...] = ()
    foreign: tuple[Child, ...] = ()
    refused: str = ""
    unmade: str = ""
    told: tuple[Told, ...] = ()
