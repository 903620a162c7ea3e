"""What the placeholders of an idle pool find out about machines.

While jobs hold nodes or ask for them, their own attempts look for machines, and placeholders make room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlpools_operator.domain.attempt import scheduler_words
from mlpools_operator.domain.observed import PodChild
from mlpools_operator.domain.pool.capacity import Finding

#: A lack is dated back by so much, at most: the next placeholders may have their machines within the same
#: second, by another clock than this process's, and what they find is the newer news all the same.
_SKEW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Search:
    """How warm nodes fare that look for machines of one family.

    Attributes:
        finding: None while some look that still have time, or there are none.
        look_after: seconds until that time is over.
    """

    finding: Finding | None = None
    look_after: float | None = None


def look(
    pods: Sequence[PodChild], shape: str, family: str, *, idle_since: float, patience: float, now: float
) -> Search:
    """Return what the placeholders of a family have found.

    Args:
        pods: placeholders of the pool.
        shape: their hash, if they ask for that family as the pool's spec is now; others are left out.
        family: of the machines.
        idle_since: when a job last used the pool: machines may have come free only then.
        patience: seconds in which all have to get machines (``capacityTimeoutSeconds``).
        now: seconds since the epoch.
    """
    mine = [pod for pod in pods if pod.meta.spec_hash == shape and not (pod.terminal or pod.meta.deleting)]
    left = [pod for pod in mine if not pod.node]
    if not mine:
        return Search()
    if not left:
        return Search(Finding(family, max(pod.scheduled or pod.meta.created for pod in mine)))
    until = max(idle_since, min(pod.meta.created for pod in left)) + patience
    if now < until:
        return Search(look_after=until - now)
    words = next((pod.unschedulable for pod in left if pod.unschedulable), "")
    said = scheduler_words.short(words) or "the scheduler found no machine in time"
    return Search(Finding(family, until - min(patience, _SKEW_SECONDS), said))
