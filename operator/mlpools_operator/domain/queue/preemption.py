"""Who gives nodes back to one of higher priority.

Nodes are taken only if that makes the whole gang fit, and only as many as it lacks when everything that is
on its way out has gone: so a restart of the operator half-way chooses nobody anew. Of equal priority nobody
is ever taken from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlpools_operator.domain.pool.ledger import Candidate

#: After a restart an attempt is left alone for so long, or it could be restarted again and again and never
#: come as far as its next checkpoint.
SPARED_SECONDS = 300.0


def victims(
    candidates: Iterable[Candidate], taker: Candidate, lacking: int, now: float
) -> tuple[Candidate, ...]:
    """Return who has to give nodes back, nobody if that would not be enough.

    Those of the lowest priority come first, then those that were admitted last. Whoever was told to go
    already stays chosen, since it may have begun to.

    Args:
        candidates: all of the pool.
        taker: of the nodes.
        lacking: nodes that it needs besides what is free, or about to be.
        now: seconds since the epoch.
    """
    able = [it for it in candidates if _may_be_taken_from(it, taker) and spared_until(it) <= now]
    able.sort(key=lambda it: (not it.evicting, it.priority, -it.admitted_at, -it.created, it.uid))
    chosen: list[Candidate] = []
    for candidate in able:
        if lacking <= 0:
            break
        chosen.append(candidate)
        lacking -= candidate.in_use
    return () if lacking > 0 else _without_surplus(chosen, -lacking)


def next_victim_at(candidates: Iterable[Candidate], taker: Candidate, now: float) -> float | None:
    """Return when the first of those that are spared is spared no more."""
    ends = (spared_until(it) for it in candidates if _may_be_taken_from(it, taker))
    return min((end for end in ends if end > now), default=None)


def spared_until(candidate: Candidate) -> float:
    """Return until when an admitted candidate is left alone."""
    if candidate.attempt == 1 or candidate.evicting:
        return 0.0
    return candidate.admitted_at + SPARED_SECONDS


def _may_be_taken_from(candidate: Candidate, taker: Candidate) -> bool:
    """Whether it is of lower priority, and its status says that it has its nodes and keeps them."""
    runs = candidate.admitted and candidate.admitted_at > 0 and not candidate.stopping
    return runs and candidate.preemptible and candidate.priority < taker.priority


def _without_surplus(chosen: Sequence[Candidate], surplus: int) -> tuple[Candidate, ...]:
    """Let go, the last chosen first, whoever is not needed since a later one has enough nodes."""
    kept = []
    for candidate in reversed(chosen):
        if candidate.in_use <= surplus:
            surplus -= candidate.in_use
        else:
            kept.append(candidate)
    return tuple(reversed(kept))
