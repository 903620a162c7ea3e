"""Who may start, who waits and why.

A gang is admitted whole or not at all. The queue's order is priority, then age. The first job for which
there are too few nodes stands at the head and holds back the others, except that smaller ones may pass it
(backfill) until it has waited for ``HEAD_SECONDS``; from then on freed nodes gather for it, so nothing
starves and nobody has to estimate a run time.

A job's wait counts from its creation, or from the end of its back-off: how long it has stood at the very
head is not known from the world alone, and what a decision rests on has to survive a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlpools_operator.api.v1alpha1 import InvalidSpec, parse
from mlpools_operator.domain import queue_words
from mlpools_operator.domain.ledger import Candidate, Decision, Verdict
from mlpools_operator.domain.observed import Resource

#: Wait after which nobody passes the job at the head any more.
HEAD_SECONDS = 600.0
#: Places told exactly; behind them the number of jobs ahead is rounded down to a power of two, so that a
#: long queue is not rewritten whenever one job leaves it.
EXACT_PLACES = 50


def decide(pool: Resource, candidates: Sequence[Candidate], now: float) -> Decision:
    """Decide for all candidates of a pool at once; the order in which they are given does not matter.

    A pool that cannot be read, or is being deleted, admits nobody; what is admitted keeps its nodes.
    """
    closed = _closed(pool)
    limit = 0 if closed else parse("ComputePool", pool.spec).max_nodes
    in_use = sum(in_use_by(candidate) for candidate in candidates)
    holders = [candidate for candidate in candidates if candidate.held or candidate.admitted]
    queue = _Queue(pool.meta.name, limit, now, in_use, holders)
    verdicts: dict[str, Verdict] = {}
    for candidate in sorted(candidates, key=_order):
        verdict = (
            Verdict(False, "PoolNotFound", closed) if closed and _asks(candidate) else queue.see(candidate)
        )
        verdicts[candidate.uid] = replace(verdict, attempt=candidate.attempt, generation=candidate.generation)
    return Decision(verdicts, queue.in_use, queue.requeue_after)


def in_use_by(candidate: Candidate) -> int:
    """Return the nodes that a candidate keeps from others: what it holds, or what it was just promised."""
    return candidate.held or (candidate.nodes if candidate.admitted else 0)


def _asks(candidate: Candidate) -> bool:
    return not candidate.admitted and not candidate.blocked


def _order(candidate: Candidate) -> tuple[int, float, str]:
    return (-candidate.priority, candidate.created, candidate.uid)


def _closed(pool: Resource) -> str:
    """Return why the pool takes nobody, empty if it does."""
    if pool.meta.deleting:
        return f"Pool {pool.meta.name} is being deleted: choose another pool, or wait until it is made again."
    try:
        parse("ComputePool", pool.spec)
    except InvalidSpec as error:
        return f"Pool {pool.meta.name} cannot be used until its administrator corrects it: {error}"
    return ""


@dataclass
class _Queue:
    """One walk through the queue, in order."""

    pool: str
    limit: int
    now: float
    in_use: int
    holders: list[Candidate]
    head: Candidate | None = None
    waiting: int = 0
    requeue_after: float | None = None

    def see(self, candidate: Candidate) -> Verdict:
        """Decide for the next candidate in order."""
        if candidate.admitted:
            return Verdict(True)
        if candidate.blocked:
            return Verdict(False, candidate.blocked)
        if candidate.not_before > self.now:
            self._look_again(candidate.not_before)
            return Verdict(False, "BackOff", "It waits until its back-off is over.")
        if candidate.nodes > self.limit:
            return Verdict(False, "TooLarge", queue_words.too_large(candidate, self.pool, self.limit))
        if candidate.nodes <= self.limit - self.in_use and not self._held_back:
            self.in_use += candidate.nodes
            self.holders.append(replace(candidate, admitted=True))
            return Verdict(True)
        return self._wait(candidate)

    @property
    def _held_back(self) -> bool:
        return self.head is not None and self.now >= _gathers_from(self.head)

    def _wait(self, candidate: Candidate) -> Verdict:
        ahead = self.waiting
        self.waiting += 1
        if self.head is not None:
            shown = ahead if ahead < EXACT_PLACES else 1 << (ahead.bit_length() - 1)
            message = queue_words.behind(candidate, self.pool, self.head, shown, exact=shown == ahead)
            return Verdict(False, "BehindInQueue", message, position=shown + 1, ahead=shown)
        self.head = candidate
        if self.now < _gathers_from(candidate):
            self._look_again(_gathers_from(candidate))
        free = max(0, self.limit - self.in_use)
        message = queue_words.waiting_for_nodes(candidate, self.pool, free, self.limit, self.holders)
        return Verdict(False, "WaitingForNodes", message, position=1)

    def _look_again(self, when: float) -> None:
        wait = when - self.now
        self.requeue_after = wait if self.requeue_after is None else min(self.requeue_after, wait)


def _gathers_from(head: Candidate) -> float:
    """Return the time from which freed nodes gather for the job at the head."""
    return max(head.created, head.not_before) + HEAD_SECONDS
