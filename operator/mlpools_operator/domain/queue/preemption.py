"""Who gives nodes back to one that stands at the head of the queue.

First those who took more than they asked for while nobody waited: that was lent, whatever the pool's rules,
and goes to whoever is of equal or higher priority. Then, where the pool lets one of higher priority take
nodes, those of lower priority, who stop for it. Nodes are taken only if that makes the whole gang fit, and
only as many as it lacks when everything that is on its way out has gone: so a restart of the operator
half-way chooses nobody anew. Of equal priority nobody is ever stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlpools_operator.domain.pool.ledger import Candidate

#: After a restart an attempt is left alone for so long, or it could be restarted again and again and never
#: come as far as its next checkpoint.
SPARED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Victim:
    """One that gives nodes back.

    Attributes:
        keeps: nodes with which it goes on; 0: it stops, and queues again.
    """

    candidate: Candidate
    keeps: int = 0

    @property
    def gives(self) -> int:
        """Nodes that come free, besides those that it gives back anyhow."""
        return self.candidate.in_use - self.candidate.comes_free - self.keeps


def victims(
    candidates: Iterable[Candidate], taker: Candidate, lacking: int, now: float, *, preempt: bool
) -> tuple[Victim, ...]:
    """Return who has to give nodes back, nobody if that would not be enough.

    Those of the lowest priority come first, then those that were admitted last. Whoever was told to go
    already stays chosen, since it may have begun to.

    Args:
        candidates: all of the pool.
        taker: of the nodes.
        lacking: nodes that it needs besides what is free, or about to be.
        now: seconds since the epoch.
        preempt: whether one of higher priority may stop others.
    """
    there = sorted((it for it in candidates if _keeps_its_nodes(it)), key=_order)
    able = [it for it in there if preempt and _may_be_stopped(it, taker) and spared_until(it) <= now]
    stopped = [it for it in able if it.evicting]
    lacking -= sum(Victim(it).gives for it in stopped)
    loans = _called_in(there, taker, lacking)
    lacking -= sum(loan.gives for loan in loans.values())
    for candidate in able:
        if lacking <= 0:
            break
        if not candidate.evicting:
            stopped.append(candidate)
            lacking -= _gain(candidate, loans)
    return () if lacking > 0 else _without_surplus(stopped, loans, -lacking)


def next_victim_at(candidates: Iterable[Candidate], taker: Candidate, now: float) -> float | None:
    """Return when the first of those that are spared is spared no more."""
    able = (it for it in candidates if _keeps_its_nodes(it) and _may_be_stopped(it, taker))
    return min((end for end in map(spared_until, able) if end > now), default=None)


def spared_until(candidate: Candidate) -> float:
    """Return until when an admitted candidate is not stopped."""
    if candidate.attempt == 1 or candidate.evicting:
        return 0.0
    return candidate.admitted_at + SPARED_SECONDS


def _keeps_its_nodes(candidate: Candidate) -> bool:
    """Whether its status says that it has its nodes and keeps them, and its author lets others touch it."""
    runs = candidate.admitted and candidate.admitted_at > 0 and not candidate.stopping
    return runs and candidate.preemptible


def _may_be_stopped(candidate: Candidate, taker: Candidate) -> bool:
    return candidate.priority < taker.priority


def _order(candidate: Candidate) -> tuple[bool, int, float, float, str]:
    return (
        not candidate.evicting,
        candidate.priority,
        -candidate.admitted_at,
        -candidate.created,
        candidate.uid,
    )


def _called_in(there: Sequence[Candidate], taker: Candidate, lacking: int) -> dict[str, Victim]:
    """Return who gives back what was lent, by UID; each of them goes on with the rest."""
    loans = dict[str, Victim]()
    for candidate in there:
        given = min(candidate.lent, lacking)
        if given > 0 and candidate.priority <= taker.priority:
            loans[candidate.uid] = Victim(candidate, candidate.share - given)
            lacking -= given
    return loans


def _gain(candidate: Candidate, loans: Mapping[str, Victim]) -> int:
    """Return how many nodes more come free if it stops."""
    loan = loans.get(candidate.uid)
    return Victim(candidate).gives - (loan.gives if loan else 0)


def _without_surplus(
    stopped: Sequence[Candidate], loans: dict[str, Victim], surplus: int
) -> tuple[Victim, ...]:
    """Let go, the last chosen first, whoever is not needed since a later one has enough nodes."""
    spared = set[str]()
    for candidate in reversed(stopped):
        if (gain := _gain(candidate, loans)) <= surplus:
            surplus -= gain
            spared.add(candidate.uid)
    found = {it.uid: Victim(it) for it in stopped if it.uid not in spared}
    for uid in reversed(loans):
        if uid not in found:
            loan = loans[uid]
            back = min(surplus, loan.gives)
            surplus -= back
            found |= {uid: Victim(loan.candidate, loan.keeps + back)} if back < loan.gives else {}
    return tuple(found.values())
