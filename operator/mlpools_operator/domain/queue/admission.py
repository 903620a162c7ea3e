"""Who may start, who waits and why.

A gang is admitted whole or not at all, in the order of the ``line``. The first one for which there are too
few nodes stands at the head and holds back the others; smaller ones may pass it (backfill) until it has
stood there for ``backfillMaxWaitSeconds``. From then on freed nodes gather for it, so nothing starves and
nobody has to estimate a run time. Nodes that are about to come free are kept for it as soon as they suffice;
what others took while nobody waited comes back to it, and where the pool allows it, those of lower priority
stop for it (``preemption``).

Whatever waits for something else than nodes (its back-off, a larger pool, room in the queue, its namespace's
``limits``, the pool's ``house_rules``) is passed, and holds nobody back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import ComputePoolSpec
from mlpools_operator.domain import times
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool.families import NO_FAMILIES, Catalogue
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Head, Surroundings, Verdict
from mlpools_operator.domain.queue import gate, growth, head, house_rules, places, preemption
from mlpools_operator.domain.queue.limits import Limits
from mlpools_operator.domain.queue.line import Line
from mlpools_operator.domain.queue.preemption import Victim
from mlpools_operator.domain.queue.words import Outlook, Words, back_off

#: Until the pool's status shows who stands at the head, nobody gives nodes back for it.
_STATUS_SECONDS = 1.0
#: Whoever waits for one of these will use free nodes: none of them is given to one that has some already.
_WANT_NODES = frozenset({"WaitingForNodes", "BehindInQueue", "BackOff"})


def decide(
    pool: Resource,
    candidates: Sequence[Candidate],
    surroundings: Surroundings,
    now: float,
    catalogue: Catalogue = NO_FAMILIES,
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
    in_use = _shares(candidates)
    spec = gate.rules(pool, catalogue)
    if isinstance(spec, gate.Closed):
        return _turn_away(pool, spec, asking, verdicts, in_use.total())
    limits = Limits(pool.meta.name, spec, in_use, surroundings, now)
    shut_out = {
        it.uid: verdict
        for it in asking
        if (verdict := limits.shut_out(it) or house_rules.refuse(it, pool.meta.name, spec))
    }
    verdicts |= shut_out
    asking = [candidate for candidate in asking if candidate.uid not in shut_out]
    found = gate.look(pool, spec, held=in_use.total() > 0, asked=bool(asking), now=now)
    if isinstance(found, gate.Closed):
        decision = _turn_away(pool, found, asking, verdicts, in_use.total())
    else:
        decision = _Walk(pool, spec, candidates, in_use, limits, now).along(asking, verdicts)
        again = decision.requeue_after if asking else found.life.look_after
        decision = replace(decision, life=found.life, requeue_after=again)
    waiting = sum(not decision.verdicts[candidate.uid].admit for candidate in asking)
    again = times.earliest(decision.requeue_after, limits.look_after)
    return replace(decision, waiting=waiting, requeue_after=again)


def _turn_away(
    pool: Resource,
    closed: gate.Closed,
    asking: Sequence[Candidate],
    verdicts: dict[str, Verdict],
    in_use: int,
) -> Decision:
    verdicts |= {it.uid: it.answer(False, closed.reason, closed.message) for it in asking}
    again = closed.life.look_after if closed.life else None
    return Decision(verdicts, in_use, head.remembered(pool), again, closed.life, len(asking))


def _shares(candidates: Sequence[Candidate]) -> Counter[str]:
    """Return the nodes that are held or promised, by namespace."""
    shares: Counter[str] = Counter()
    for candidate in candidates:
        shares[candidate.namespace] += candidate.in_use
    return shares


class _Walk:
    """One walk along the line of a pool."""

    def __init__(
        self,
        pool: Resource,
        spec: ComputePoolSpec,
        candidates: Sequence[Candidate],
        in_use: Counter[str],
        limits: Limits,
        now: float,
    ) -> None:
        self._requeue_after: float | None = None
        self._rules, self._limit, self._now = spec.queue, spec.max_nodes, now
        self._words = Words(pool.meta.name, spec.max_nodes, names=spec.queue.disclose == "Names")
        self._candidates = candidates
        self._share, self._limits, self._in_use = in_use, limits, in_use.total()
        self._in_use_by = Counter(in_use)
        self._free = max(0, self._limit - self._in_use)
        self._leaving = sum(self._comes_free(candidate) for candidate in candidates)
        self._holders = [candidate for candidate in candidates if candidate.in_use]
        self._heads = head.remembered(pool)
        self._since = {it.uid: it.since for it in self._heads}
        self._first: Candidate | None = None
        self._victims: tuple[Victim, ...] = ()
        self._waiting = 0
        self._kept = False

    def along(self, asking: Sequence[Candidate], verdicts: dict[str, Verdict]) -> Decision:
        """Decide for each in the line; ``verdicts`` are those on the others."""
        self._line = Line(asking, self._share, self._heads, fair_share=self._rules.fair_share)
        for candidate in self._line:
            verdicts[candidate.uid] = self._see(candidate)
        present = None
        if self._first:
            present = Head(self._first.uid, self._came(self._first))
            for victim in self._victims:
                verdicts[victim.candidate.uid] = self._take_from(victim, self._first)
        still = {candidate.uid for candidate in asking if not verdicts[candidate.uid].admit}
        heads = head.remember(self._heads, present, still)
        crowded = any(verdicts[uid].reason in _WANT_NODES for uid in still)
        if not crowded:
            self._grow(verdicts)
        self._say_what_lacks(verdicts, crowded=crowded)
        return Decision(verdicts, self._in_use, heads, self._requeue_after)

    def _take_from(self, victim: Victim, taker: Candidate) -> Verdict:
        if victim.keeps:
            return victim.candidate.answer(True, nodes=victim.keeps)
        message = self._words.preempted(victim.candidate, taker)
        return victim.candidate.answer(False, "Preempted", message, evict=True)

    def _grow(self, verdicts: dict[str, Verdict]) -> None:
        """Give what is left to those that can use more than they have."""
        free = max(0, self._limit - self._in_use)
        fair = self._rules.fair_share
        more = growth.share_out(free, self._holders, self._in_use_by, self._limits, fair_share=fair)
        for uid, nodes in more.items():
            verdicts[uid] = replace(verdicts[uid], nodes=verdicts[uid].nodes + nodes)
            self._in_use += nodes

    def _say_what_lacks(self, verdicts: dict[str, Verdict], *, crowded: bool) -> None:
        """Tell those that grow for good why they have fewer nodes than they ask for."""
        for holder in self._holders:
            said = verdicts[holder.uid]
            if holder.keeps and holder.room and said.nodes < holder.most:
                limited = self._limits.beyond_one_more(holder)
                words = limited.message if limited else self._words.not_larger(holder, crowded=crowded)
                verdicts[holder.uid] = replace(said, message=words)

    def _see(self, candidate: Candidate) -> Verdict:
        if candidate.not_before > self._now:
            self._look_again(candidate.not_before)
            return candidate.answer(False, "BackOff", back_off(times.deadline(candidate.not_before)))
        if candidate.nodes > self._limit:
            return candidate.answer(False, "TooLarge", self._words.too_large(candidate))
        limited = self._limits.too_many(candidate)
        if limited is not None:
            return limited
        if self._rules.max_queued is not None and self._waiting >= self._rules.max_queued:
            return candidate.answer(False, "QueueFull", self._words.queue_full(self._rules.max_queued))
        self._line.take(candidate)
        if candidate.nodes <= self._free:
            return self._admit(candidate)
        return self._wait(candidate)

    def _admit(self, candidate: Candidate) -> Verdict:
        self._free -= candidate.nodes
        self._in_use += candidate.nodes
        self._in_use_by[candidate.namespace] += candidate.nodes
        self._limits.take(candidate)
        self._holders.append(candidate.granted(candidate.nodes))
        return candidate.answer(True, nodes=candidate.nodes)

    def _wait(self, candidate: Candidate) -> Verdict:
        limited = self._limits.wait(candidate)
        if limited is not None:
            return limited
        ahead = self._waiting
        self._waiting += 1
        if self._first is None:
            self._first = candidate
            outlook = self._stand_at_the_head(candidate)
            message = self._words.first(candidate, outlook)
            return candidate.answer(False, "WaitingForNodes", message, position=1)
        if candidate.uid in self._since and self._gathers(candidate):
            self._keep(0)
        shown = places.ahead(ahead, candidate.shown_ahead)
        if ahead < places.EXACT:
            message = self._words.behind(candidate, ahead, self._first, kept=self._kept)
        else:
            message = self._words.far_behind(candidate, shown)
        return candidate.answer(False, "BehindInQueue", message, position=shown + 1, ahead=shown)

    def _comes_free(self, candidate: Candidate) -> int:
        """Return how many nodes one that gives its nodes back will give by itself, soon.

        What lies on lost machines is not waited for: others may have to give theirs.
        """
        if not candidate.leaving:
            return candidate.comes_free
        for pod in candidate.ending:
            if pod.since > self._now:
                self._look_again(pod.since)
        return max(0, candidate.held - len(candidate.stranded(self._now)))

    def _stand_at_the_head(self, candidate: Candidate) -> Outlook:
        """See what comes free for the first one that waits, and leave to the others what it does not need."""
        expected = self._limit - self._in_use + self._leaving
        coming = expected >= candidate.nodes
        taken = () if coming else self._find_victims(candidate, candidate.nodes - expected)
        expected += sum(victim.gives for victim in taken)
        if expected >= candidate.nodes:
            self._keep(expected - candidate.nodes)
        elif self._gathers(candidate):
            self._keep(0)
        free = max(0, self._limit - self._in_use)
        return Outlook(free, self._holders, self._now, coming, taken, self._kept)

    def _find_victims(self, candidate: Candidate, lacking: int) -> tuple[Victim, ...]:
        """Choose who gives nodes back; told to do so only once the pool's status shows for whom.

        The place at the head is what keeps the nodes for it, and without a status a restart would forget it.
        """
        preempt = self._rules.preemption == "LowerPriority"
        found = preemption.victims(self._candidates, candidate, lacking, self._now, preempt=preempt)
        if found and candidate.uid in self._since:
            self._victims = found
        elif found:
            self._look_again(self._now + _STATUS_SECONDS)
        elif preempt:
            spared = preemption.next_victim_at(self._candidates, candidate, self._now)
            if spared is not None:
                self._look_again(spared)
        return found

    def _keep(self, others: int) -> None:
        """Keep what is free from those behind, but for so many nodes."""
        self._free = min(self._free, others)
        self._kept = True

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
