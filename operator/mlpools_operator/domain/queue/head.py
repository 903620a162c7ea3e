"""Who stands at the head of a pool's queue, and since when.

It is kept in the pool's status: that nobody passes the head for ever rests on it, so it has to survive a
restart. A job keeps its time when one of higher priority comes before it, and loses it when it gets its
nodes or asks for none any more. A write that is lost costs the time since the last one, nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mlpools_operator.api.v1alpha1 import ComputePoolStatus, HeadOfQueue
from mlpools_operator.domain import times
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool.ledger import Head

#: More than there are priorities in use, as a rule.
_KEPT = 8


def remembered(pool: Resource) -> tuple[Head, ...]:
    """Return who came to the head of a pool's queue, as its status says."""
    heads = ComputePoolStatus.model_validate(pool.status).heads
    return tuple(Head(head.uid, times.seconds(head.since)) for head in heads)


def remember(before: Sequence[Head], present: Head | None, waiting: Collection[str]) -> tuple[Head, ...]:
    """Return who is to be remembered after a pass.

    Args:
        before: who was remembered.
        present: who stands at the head now.
        waiting: UIDs of those that still ask for nodes.
    """
    first = (present,) if present else ()
    others = (head for head in before if head.uid in waiting and head not in first)
    return (*first, *others)[:_KEPT]


def told(heads: Sequence[Head]) -> tuple[HeadOfQueue, ...]:
    """Return the entries of the pool's status."""
    return tuple(HeadOfQueue(uid=head.uid, since=times.stamp(head.since)) for head in heads)
