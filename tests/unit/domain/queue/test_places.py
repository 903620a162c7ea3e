"""What a long queue costs in status writes."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import QueuePlace
from mlpools_operator.domain import times
from mlpools_operator.domain.computepool import pool
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool.ledger import Candidate, Surroundings, Verdict
from mlpools_operator.domain.queue import admission, places
from mlpools_operator.domain.queue.words import Words
from tests.support import trainingjob
from tests.support.domain_values import NOW, a_candidate, a_job, a_pool
from tests.support.operator_sim import DEFAULTS

QUEUED, ADMISSIONS = 10_000, 100


class Cluster:
    """Jobs of one node each, whose status is written whenever a plan says so; a timer wakes each again."""

    def __init__(self) -> None:
        self.now, self.pool = NOW, a_pool(maxNodes=ADMISSIONS)
        self.jobs: dict[str, Resource] = {}
        self.candidates: dict[str, Candidate] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.timers: list[tuple[float, str]] = []
        self.writes: Counter[str] = Counter()

    def store(self, job: Resource) -> None:
        self.jobs[job.meta.uid] = job
        candidate = trainingjob.candidate(job, (), (), self.now)
        assert candidate is not None
        self.candidates[job.meta.uid] = candidate

    def fill(self) -> None:
        """Store jobs that were told their places an hour ago."""
        self.look_at(a_job("job"), Verdict(False, "BehindInQueue", position=1), NOW - 3600)
        (job,), (asks,) = self.jobs.values(), self.candidates.values()
        self.jobs.clear()
        self.candidates.clear()
        words = Words("cpu", ADMISSIONS)
        for number in range(QUEUED):
            uid, created = f"uid-{number:05d}", NOW - 50_000 + number
            message = words.far_behind(asks, number)
            place = {**job.status["queue"], "ahead": number, "position": number + 1, "message": message}
            admitted, *others = job.status["conditions"]
            status = {
                **job.status,
                "queue": place,
                "conditions": [{**admitted, "message": message}, *others],
            }
            self.jobs[uid] = replace(job, meta=replace(job.meta, uid=uid, created=created), status=status)
            self.candidates[uid] = replace(asks, uid=uid, shown_ahead=number, created=created)

    def settle(self) -> None:
        """Look at the pool, and at every job about which there is something new or whose time has come."""
        candidates = tuple(self.candidates.values())
        decision = admission.decide(self.pool, candidates, Surroundings(), self.now)
        status = pool.plan(self.pool, pool.Observed(decision, candidates), self.now, DEFAULTS).status
        self.pool = replace(self.pool, status=status or self.pool.status)
        woken = {uid for uid, verdict in decision.verdicts.items() if verdict != self.verdicts.get(uid)}
        while self.timers and self.timers[0][0] <= self.now:
            woken.add(heapq.heappop(self.timers)[1])
        self.verdicts = dict(decision.verdicts)
        for uid in sorted(woken & self.jobs.keys()):
            self.look_at(self.jobs[uid], self.verdicts[uid], self.now)

    def look_at(self, job: Resource, verdict: Verdict, now: float) -> None:
        plan = trainingjob.plan(job, trainingjob.Observed(self.pool, verdict), now, DEFAULTS)
        if plan.requeue_after:
            heapq.heappush(self.timers, (now + plan.requeue_after, job.meta.uid))
        if plan.status is not None:
            self.writes[str(plan.status["phase"])] += 1
            self.store(replace(job, status=plan.status))


def test_ten_thousand_queued_and_a_hundred_admissions_cost_five_hundred_writes_at_most() -> None:
    cluster = Cluster()
    cluster.fill()
    holder = a_candidate("holder", ADMISSIONS, admitted=True, held=ADMISSIONS)
    cluster.candidates[holder.uid] = holder
    cluster.settle()
    assert cluster.writes.total() <= 100, "only the first fifty are told more than they know"
    cluster.writes.clear()
    for left in range(ADMISSIONS - 20, -1, -20):
        cluster.now += 12
        cluster.candidates[holder.uid] = replace(holder, held=left, admitted=left > 0)
        cluster.settle()
    assert cluster.writes["Starting"] == ADMISSIONS
    assert cluster.writes.total() <= 500, cluster.writes


def test_a_place_is_told_anew_after_thirty_seconds_and_anything_else_at_once() -> None:
    told = QueuePlace(position=2, ahead=1, reason="BehindInQueue", message="x", updated_at=times.stamp(NOW))
    first = QueuePlace(position=1, reason="WaitingForNodes", message="y")
    assert places.stands_for(None, first, NOW) == 0
    assert places.stands_for(told, first, NOW + 12) == 18
    assert places.stands_for(told, told, NOW + 12) == 0, "there is nothing to tell"
    assert places.stands_for(told, first, NOW + 30) == 0
    assert places.stands_for(told, first.model_copy(update={"reason": "PoolNotFound"}), NOW + 1) == 0
