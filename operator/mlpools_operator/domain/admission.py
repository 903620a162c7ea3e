"""Who may start, who waits and why.

A gang is admitted whole or not at all, in the order of the ``line``. The first one for which there are too
few nodes stands at the head and holds back the others; smaller ones may pass it (backfill) until it has
stood there for ``backfillMaxWaitSeconds``. From then on freed nodes gather for it, so nothing starves and
nobody has to estimate a run time. Nodes that are about to come free are kept for it as soon as they suffice.

Whatever waits for something else than nodes (its back-off, a larger pool) is passed, and holds nobody back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import ComputePoolSpec
from mlpools_operator.domain import gate, head, queue_words, times
from mlpools_operator.domain.families import NO_FAMILIES, Catalogue
from mlpools_operator.domain.ledger import Candidate, Decision, Head, Verdict
from mlpools_operator.domain.line import Line
from mlpools_operator.domain.observed import Resource

#: Places told exactly; behind them the number of jobs ahead is rounded down to a power of two, so that a
#: long queue is not rewritten whenever one job leaves it.
EXACT_PLACES = 50


def decide(
    pool: Resource, candidates: Sequence[Candidate], now: float, catalogue: Catalogue = NO_FAMILIES
) -> Decision:
    """Decide for all candidates of a pool at once; the order in which they are given does not matter.

    A pool that is closed admits nobody; what is admitted keeps its nodes.
    """
    asking = [candidate for candidate in candidates if not candidate.admitted and not candidate.blocked]
    verdicts = {
        candidate.uid: candidate.answer(candidate.admitted, candidate.blocked)
        for candidate in candidates
        if candidate.admitted or candidate.blocked
    }
    in_use = sum(map(in_use_by, candidates))
    found = gate.look(pool, held=in_use > 0, asked=bool(asking), now=now, catalogue=catalogue)
    again = found.life.look_after if found.life else None
    if isinstance(found, gate.Closed):
        verdicts |= {it.uid: it.answer(False, found.reason, found.message) for it in asking}
        return Decision(verdicts, in_use, head.remembered(pool), again, found.life)
    decision = _Walk(pool, found.spec, candidates, now).along(asking, verdicts)
    return replace(decision, life=found.life, requeue_after=decision.requeue_after if asking else again)


def in_use_by(candidate: Candidate) -> int:
    """Return the nodes that a candidate keeps from others: what it holds, or what it was just promised."""
    return candidate.held or (candidate.nodes if candidate.admitted else 0)


class _Walk:
    """One walk along the line of a pool.

    Attributes:
        in_use: nodes that are held or promised.
    """

    def __init__(
        self, pool: Resource, spec: ComputePoolSpec, candidates: Sequence[Candidate], now: float
    ) -> None:
        self._pool, self._rules, self._limit, self._now = pool.meta.name, spec.queue, spec.max_nodes, now
        self._share: Counter[str] = Counter()
        for candidate in candidates:
            self._share[candidate.namespace] += in_use_by(candidate)
        self.in_use = self._share.total()
        self._free = max(0, self._limit - self.in_use)
        self._leaving = sum(candidate.held for candidate in candidates if not candidate.admitted)
        self._holders = [candidate for candidate in candidates if candidate.held or candidate.admitted]
        self._heads = head.remembered(pool)
        self._since = {it.uid: it.since for it in self._heads}
        self._first: Candidate | None = None
        self._waiting = 0
        self._requeue_after: float | None = None

    def along(self, asking: Sequence[Candidate], verdicts: dict[str, Verdict]) -> Decision:
        """Decide for each in the line; ``verdicts`` are those on the others."""
        self._line = Line(asking, self._share, self._heads, fair_share=self._rules.fair_share)
        for candidate in self._line:
            verdicts[candidate.uid] = self._see(candidate)
        present = Head(self._first.uid, self._came(self._first)) if self._first else None
        still = {candidate.uid for candidate in asking if not verdicts[candidate.uid].admit}
        heads = head.remember(self._heads, present, still)
        return Decision(verdicts, self.in_use, heads, self._requeue_after)

    def _see(self, candidate: Candidate) -> Verdict:
        if candidate.not_before > self._now:
            self._look_again(candidate.not_before)
            return candidate.answer(
                False, "BackOff", queue_words.back_off(times.deadline(candidate.not_before))
            )
        if candidate.nodes > self._limit:
            return candidate.answer(
                False, "TooLarge", queue_words.too_large(candidate, self._pool, self._limit)
            )
        self._line.take(candidate)
        if candidate.nodes <= self._free:
            return self._admit(candidate)
        return self._wait(candidate)

    def _admit(self, candidate: Candidate) -> Verdict:
        self._free -= candidate.nodes
        self.in_use += candidate.nodes
        self._holders.append(replace(candidate, admitted=True))
        return candidate.answer(True)

    def _wait(self, candidate: Candidate) -> Verdict:
        ahead = self._waiting
        self._waiting += 1
        if self._first is None:
            self._first = candidate
            return self._stand_at_the_head(candidate)
        if candidate.uid in self._since and self._gathers(candidate):
            self._free = 0
        shown = ahead if ahead < EXACT_PLACES else 1 << (ahead.bit_length() - 1)
        message = queue_words.behind(candidate, self._pool, self._first, shown, exact=shown == ahead)
        return candidate.answer(False, "BehindInQueue", message, position=shown + 1, ahead=shown)

    def _stand_at_the_head(self, candidate: Candidate) -> Verdict:
        """Tell the first one that waits, and leave to those behind it what it does not need."""
        free = max(0, self._limit - self.in_use)
        message = queue_words.waiting_for_nodes(candidate, self._pool, free, self._limit, self._holders)
        surplus = self._limit - self.in_use + self._leaving - candidate.nodes
        if surplus >= 0:
            self._free = min(self._free, surplus)
        elif self._gathers(candidate):
            self._free = 0
        return candidate.answer(False, "WaitingForNodes", message, position=1)

    def _gathers(self, candidate: Candidate) -> bool:
        """Whether nobody passes this one any more."""
        if not self._rules.backfill:
            return True
        until = self._came(candidate) + self._rules.backfill_max_wait_seconds
        if self._now < until:
            self._look_again(until)
        return self._now >= until

    def _came(self, candidate: Candidate) -> float:
        """Return when a candidate came to the head."""
        return self._since.get(candidate.uid, self._now)

    def _look_again(self, when: float) -> None:
        wait = when - self._now
        self._requeue_after = wait if self._requeue_after is None else min(self._requeue_after, wait)
