"""The line in front of a pool: in which order those that ask for nodes are served."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from mlpools_operator.domain.pool.ledger import Candidate, Head


class Line:
    """Those that ask for nodes, in order.

    Priority comes first. Of equal priority, one that has come to the head stays there: if it had to leave
    whenever another namespace has less at the moment, two of them could take turns and neither would ever
    have waited long enough to get its nodes. Then comes the namespace that has the least: nodes that it
    holds, and nodes that its members further ahead are about to get. Then age.

    Each candidate costs one step on a heap of namespaces, so a long line is cheap.
    """

    def __init__(
        self,
        asking: Sequence[Candidate],
        in_use: Mapping[str, int],
        heads: Sequence[Head],
        *,
        fair_share: bool,
    ) -> None:
        """Line up.

        Args:
            asking: those that ask for nodes.
            in_use: nodes that are held or promised, by namespace.
            heads: who came to the head, and when.
            fair_share: whether namespaces count.
        """
        self._asking, self._fair_share = asking, fair_share
        self._share = dict(in_use)
        self._since = {head.uid: head.since for head in heads}

    def take(self, candidate: Candidate) -> None:
        """Count a candidate's nodes for its namespace: it gets them, or stands before those that follow."""
        self._share[candidate.namespace] = self._share.get(candidate.namespace, 0) + candidate.nodes

    def __iter__(self) -> Iterator[Candidate]:
        by_age = sorted(self._asking, key=lambda it: (-it.priority, it.created, it.uid))
        for _, group in groupby(by_age, key=lambda it: it.priority):
            equals = list(group)
            came = sorted((it for it in equals if it.uid in self._since), key=lambda it: self._since[it.uid])
            yield from came
            others = [it for it in equals if it.uid not in self._since] if came else equals
            yield from self._by_share(others) if self._fair_share else others

    def _by_share(self, by_age: Sequence[Candidate]) -> Iterator[Candidate]:
        lines: dict[str, deque[Candidate]] = {}
        for candidate in by_age:
            lines.setdefault(candidate.namespace, deque()).append(candidate)
        heap = [self._entry(line[0]) for line in lines.values()]
        heapq.heapify(heap)
        while heap:
            share, _, _, namespace = heap[0]
            line = lines[namespace]
            if share != self._share.get(namespace, 0):
                heapq.heapreplace(heap, self._entry(line[0]))
                continue
            candidate = line.popleft()
            if line:
                heapq.heapreplace(heap, self._entry(line[0]))
            else:
                heapq.heappop(heap)
            yield candidate

    def _entry(self, first: Candidate) -> tuple[int, float, str, str]:
        return (self._share.get(first.namespace, 0), first.created, first.uid, first.namespace)
