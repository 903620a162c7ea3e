"""Free nodes that nobody waits for go to those who can use more than they began with.

One node at a time, so that several share what there is: to the highest priority, of equal ones to the
namespace that has the least, then to the oldest. Whoever grew keeps what it has until one of higher priority
needs it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.domain.queue.limits import Limits


def share_out(
    free: int, able: Iterable[Candidate], in_use: Mapping[str, int], limits: Limits, *, fair_share: bool
) -> dict[str, int]:
    """Return how many nodes more each gets, by UID.

    Args:
        free: nodes that nobody holds, and nobody waits for.
        able: those that hold nodes.
        in_use: nodes that are held or promised, by namespace.
        limits: of the namespaces; it takes note of what is given.
        fair_share: whether namespaces count.
    """
    shares, more = dict(in_use), dict[str, int]()
    by_uid = {it.uid: it for it in able if it.room}
    heap = [_place(it, shares, fair_share=fair_share) for it in by_uid.values()]
    heapq.heapify(heap)
    while free and heap:
        place = heapq.heappop(heap)
        candidate = by_uid[place[-1]]
        if place != (now := _place(candidate, shares, fair_share=fair_share)):
            heapq.heappush(heap, now)
            continue
        if not limits.may_take_one(candidate):
            continue
        free -= 1
        more[candidate.uid] = more.get(candidate.uid, 0) + 1
        shares[candidate.namespace] = shares.get(candidate.namespace, 0) + 1
        if more[candidate.uid] < candidate.room:
            heapq.heappush(heap, _place(candidate, shares, fair_share=fair_share))
    return more


def _place(
    candidate: Candidate, shares: Mapping[str, int], *, fair_share: bool
) -> tuple[int, int, float, str]:
    share = shares.get(candidate.namespace, 0) if fair_share else 0
    return (-candidate.priority, share, candidate.created, candidate.uid)
