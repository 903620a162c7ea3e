"""A pool's decisions over many passes, carried out as jobs do: some time after they are told to.

Only what the cluster stores outlives a pass: the pool's status, and of each job what its candidate says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlpools_operator.domain.computepool import pool
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Surroundings
from mlpools_operator.domain.queue import admission
from tests.support.domain_values import NOW, a_pool
from tests.support.operator_sim import DEFAULTS


class Rounds:
    """One pool and its jobs.

    Attributes:
        started: when each job was admitted last.
        told: who was told to give its nodes back and has not begun to; the operator's memory.
    """

    def __init__(self, **spec: Any) -> None:
        self.pool, self.jobs, self.now = a_pool(**spec), dict[str, Candidate](), NOW
        self.started: dict[str, float] = {}
        self.told: set[str] = set()

    @property
    def running(self) -> list[str]:
        """Jobs that hold nodes, the first to start first."""
        holding = (uid for uid, job in self.jobs.items() if job.held and job.admitted)
        return sorted(holding, key=lambda uid: self.started[uid])

    def candidates(self) -> list[Candidate]:
        return [replace(job, evicting=uid in self.told) for uid, job in self.jobs.items()]

    def submit(self, *jobs: Candidate) -> None:
        self.jobs |= {job.uid: job for job in jobs}

    def end(self, uid: str) -> None:
        del self.jobs[uid]
        self.told.discard(uid)

    def restart(self) -> None:
        """Forget what no object says."""
        self.told.clear()

    def turn(self, seconds: float = 30, *, write: bool = True) -> Decision:
        """Let time pass, and decide; ``write`` = the pool's status is stored."""
        self.now += seconds
        candidates = self.candidates()
        decision = admission.decide(self.pool, candidates, Surroundings(), self.now)
        self.told = {uid for uid, verdict in decision.verdicts.items() if verdict.evict}
        for uid, job in self.jobs.items():
            if decision.verdicts[uid].admit and not job.admitted:
                self.started[uid] = self.now
                self.jobs[uid] = replace(job.granted(job.nodes), admitted_at=self.now)
        if write:
            seen = pool.Observed(decision, tuple(candidates))
            status = pool.plan(self.pool, seen, self.now, DEFAULTS).status
            self.pool = self.pool if status is None else replace(self.pool, status=status)
        return decision

    def stop(self, uid: str) -> None:
        """Let one that was told to give its nodes back begin to."""
        self.told.discard(uid)
        self.jobs[uid] = replace(self.jobs[uid], stopping=True)

    def let_go(self, uid: str) -> None:
        """Let the last pod of one that stops end: it queues again."""
        job = self.jobs[uid]
        self.jobs[uid] = replace(
            job, admitted=False, stopping=False, held=0, attempt=job.attempt + 1, admitted_at=0.0
        )

    def obey(self, chosen: Callable[[str], bool] = lambda uid: True) -> None:
        """Let those that stop let go, and those that were told to begin; ``chosen`` picks some of them."""
        for uid in [uid for uid, job in self.jobs.items() if job.stopping and chosen(uid)]:
            self.let_go(uid)
        for uid in sorted(uid for uid in self.told if chosen(uid)):
            self.stop(uid)
