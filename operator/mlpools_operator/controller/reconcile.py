"""One pass over one object: observe from memory, decide, execute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mlpools.contract.reports import Report
from mlpools_operator.controller.execute import Blocked, Executor
from mlpools_operator.controller.feed import POOL
from mlpools_operator.controller.ledger import CandidateOf, Ledger
from mlpools_operator.controller.notebooks import NotebookPolicy, Notebooks
from mlpools_operator.controller.obstacles import MissingPods, Obstacles
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Family, Key, Store, root_of
from mlpools_operator.controller.usage import Usage
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.computepool import pool as pool_policy
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.observed import Child, JobChild, Resource, Unheard
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Surroundings

#: A pool's status tells of all its jobs, so it would be written for each of their steps.
POOL_STATUS_SECONDS = 2.0
#: A pass over a pool looks at all that waits there, and each job asks for some. After one the pool rests for
#: so many times as long as it took, so that a long queue costs time and not the whole processor.
POOL_REST = 9.0


@dataclass(frozen=True)
class JobPolicy:
    """The decisions about one kind of resource that takes nodes.

    Attributes:
        candidate: what admission sees of it.
        plan: what to do next.
    """

    candidate: CandidateOf
    plan: Callable[[Resource, Observed, float], Plan]


@dataclass(frozen=True)
class Policies:
    """Every decision that the loop calls; pure functions, so tests may bring their own."""

    decide: Callable[[Resource, Sequence[Candidate], Surroundings, float], Decision]
    pool: Callable[[Resource, pool_policy.Observed, float], Plan]
    jobs: Mapping[str, JobPolicy]
    notebook: NotebookPolicy


class Reports(Protocol):
    """How far running jobs are."""

    def report(self, uid: str) -> Report | None:
        """Return the newest report about a job that was handed on, if any."""

    def unheard(self, uid: str) -> Unheard | None:
        """Return why no report about a job's present attempt comes, once that is sure."""


class Reconciler:
    """Makes the passes; ``pass_over`` is safe to call for any key at any time."""

    def __init__(
        self,
        *,
        policies: Policies,
        store: Store,
        ledger: Ledger,
        usage: Usage,
        queue: Queue,
        executor: Executor,
        obstacles: Obstacles,
        missing_pods: MissingPods,
        reports: Reports,
        notebooks: Notebooks,
        clock: Callable[[], float],
    ) -> None:
        self._policies, self._store, self._ledger, self._queue = policies, store, ledger, queue
        self._executor, self._obstacles, self._missing_pods = executor, obstacles, missing_pods
        self._usage, self._reports, self._notebooks, self._clock = usage, reports, notebooks, clock
        self._pool_written: dict[Key, float] = {}
        self._pool_rests: dict[Key, float] = {}

    async def pass_over(self, key: Key) -> float | None:
        """Look at one object and do what is to be done.

        Returns:
            Seconds after which it wants another look without anything having changed.

        Raises:
            ClusterError: a write failed.
        """
        if key.kind == POOL:
            await self._usage.load(key.name)
            return await self._pool(key, self._store.resource(key))
        resource = self._store.resource(key)
        if resource is None or resource.meta.deleting:
            return None  # the garbage collector follows the owner references
        if key.kind in self._policies.jobs:
            return await self._job(key, resource)
        return await self._notebooks.pass_over(key, resource)

    async def _pool(self, key: Key, pool: Resource | None) -> float | None:
        if pool is None:
            self._usage.charge(key.name, self._ledger.candidates(key.name))
            self._pool_written.pop(key, None)
            self._pool_rests.pop(key, None)
            self._ledger.record(key.name, Decision())
            for member in self._ledger.members(key.name):
                self._queue.add(member)
            return None
        now = self._clock()
        rest = self._pool_rests.get(key, 0.0) - now
        if rest > 0:
            return rest
        candidates = self._ledger.candidates(key.name)
        decision = self._policies.decide(pool, candidates, self._surroundings(key.name, candidates), now)
        for member in self._ledger.record(key.name, decision):
            self._queue.add(member)
        obstacle = self._obstacles.take(pool.meta.uid)
        observed = pool_policy.Observed(
            decision,
            candidates,
            pods=self._store.family(pool.meta.uid).pods,
            foreign=obstacle.foreign,
            refused=obstacle.refused,
        )
        plan = self._policies.pool(pool, observed, now)
        self._pool_rests[key] = now + (self._clock() - now) * POOL_REST
        if plan.status is not None:
            wait = self._pool_written.get(key, 0.0) + POOL_STATUS_SECONDS - now
            if wait > 0:
                # "At once" means: once this status is stored. Until then there is nothing to look at.
                plan = replace(
                    plan, status=None, requeue_after=times.earliest(plan.requeue_after or None, wait)
                )
        try:
            await self._executor.execute(key, pool, plan)
        except Blocked:
            return 0.0
        if plan.status is not None:
            self._pool_written[key] = now
        return plan.requeue_after

    def _surroundings(self, pool: str, candidates: Sequence[Candidate]) -> Surroundings:
        account = self._usage.charge(pool, candidates)
        return Surroundings(self._store.namespaces(), account.used, self._usage.unreadable(pool))

    async def _job(self, key: Key, job: Resource) -> float | None:
        uid = job.meta.uid
        missing, ask_again = await self._missing_pods.words(self._store.family(uid))
        observed = self._observe(job, self._store.family(uid), missing)
        plan = self._policies.jobs[key.kind].plan(job, observed, self._clock())
        try:
            await self._executor.execute(key, job, plan)
        except Blocked:
            return 0.0
        return times.earliest(plan.requeue_after, ask_again)

    def _observe(self, job: Resource, family: Family, missing_pods: str) -> Observed:
        obstacle = self._obstacles.take(job.meta.uid)
        others = self._namesakes(job)
        return Observed(
            pool=self._store.resource(Key(POOL, "", str(job.spec.get("computePool", "")))),
            verdict=self._ledger.verdict(job.meta.uid),
            children=(*family.children, *others.children),
            jobs=(*family.jobs, *others.jobs),
            pods=family.pods,
            report=self._reports.report(job.meta.uid),
            unheard=self._reports.unheard(job.meta.uid),
            half_gangs=self._ledger.half_gangs(job.meta.uid),
            runs=family.runs,
            foreign=obstacle.foreign,
            refused=obstacle.refused or missing_pods,
        )

    def _namesakes(self, job: Resource) -> Family:
        """Return what an earlier job of the same name left behind under the names of our children."""
        space, name = job.meta.namespace, job.meta.name
        attempt = int(job.status.get("attempt", 0))
        places = (
            Key("Service", space, naming.service(name)),
            Key("NetworkPolicy", space, naming.network_policy(name)),
            Key("Job", space, naming.attempt_job(name, attempt)),
        )
        found = [entry for entry in map(self._store.get, places) if entry and root_of(entry) != job.meta.uid]
        return Family(
            children=tuple(entry for entry in found if isinstance(entry, Child)),
            jobs=tuple(entry for entry in found if isinstance(entry, JobChild)),
        )
