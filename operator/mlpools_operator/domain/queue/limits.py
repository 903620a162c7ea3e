"""What a job's namespace may do in a pool: use it at all, so many nodes, such a priority, such a budget.

A job that waits for one of these is passed by all others, holds nobody back and keeps no pool awake. An entry
of `queue.limits` holds for each namespace that matches, by itself; where several match, the strictest of each
holds. Limits are asked about when a job wants to start: lowering one takes nothing away.

Where the labels of a namespace are not known, a selector that needs them lets nobody in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, NamespaceLimit
from mlpools_operator.domain import selectors, times
from mlpools_operator.domain.pool.ledger import Candidate, Surroundings, Verdict
from mlpools_operator.domain.queue import limit_words, usage


@dataclass(frozen=True, slots=True)
class _Tenant:
    """What holds for one namespace.

    Attributes:
        not_allowed: why it may not use the pool, empty if it may.
        budget_spent: why none of its jobs may start now, empty if they may.
    """

    not_allowed: str = ""
    budget_spent: str = ""
    max_priority: int | None = None
    max_nodes: int | None = None


class Limits:
    """The limits of one pool during one walk through its queue; a question costs the same however long it is.

    Attributes:
        look_after: seconds until a verdict could change by time alone, None if none could.
    """

    def __init__(
        self,
        pool: str,
        spec: ComputePoolSpec,
        in_use: Mapping[str, int],
        surroundings: Surroundings,
        now: float,
    ) -> None:
        """Ask for a pool.

        Args:
            pool: its name.
            spec: its spec.
            in_use: nodes that are held or promised, by namespace.
            surroundings: what is known of the namespaces.
            now: seconds since the epoch.
        """
        self._pool, self._spec, self._in_use = pool, spec, Counter(in_use)
        self._surroundings, self._today = surroundings, int(now // usage.DAY)
        self._tenants: dict[str, _Tenant] = {}
        self._claimed: Counter[str] = Counter()
        self._now = now
        self.look_after: float | None = None

    def shut_out(self, candidate: Candidate) -> Verdict | None:
        """Return why a candidate may not start whatever the others do, None if it may."""
        tenant = self._tenant(candidate.namespace)
        if tenant.not_allowed:
            return candidate.answer(False, "PoolNotAllowed", tenant.not_allowed)
        if tenant.max_priority is not None and candidate.priority > tenant.max_priority:
            words = limit_words.priority_too_high(candidate, self._pool, tenant.max_priority)
            return candidate.answer(False, "PriorityTooHigh", words)
        if tenant.budget_spent:
            return candidate.answer(False, "BudgetSpent", tenant.budget_spent)
        return self._beyond(candidate, tenant, 0)

    def too_many(self, candidate: Candidate) -> Verdict | None:
        """Return why a candidate may not start beside those of its namespace that run, None if it may."""
        space = candidate.namespace
        return self._beyond(candidate, self._tenant(space), self._in_use[space])

    def take(self, candidate: Candidate) -> None:
        """Take note of a candidate that is admitted."""
        self._in_use[candidate.namespace] += candidate.nodes

    def wait(self, candidate: Candidate) -> Verdict | None:
        """Take note of a candidate that waits for nodes; return the limit for which it would wait then.

        Those before it in the queue will have taken the nodes of its namespace when its turn comes. That is
        what it is told: or else its reason would change with every node of the pool that comes and goes.
        """
        space = candidate.namespace
        before = self._in_use[space] + self._claimed[space]
        self._claimed[space] += candidate.nodes
        return self._beyond(candidate, self._tenant(space), before)

    def may_take_one(self, candidate: Candidate) -> bool:
        """Take note that a candidate gets one node more, if its namespace may have that."""
        if self.beyond_one_more(candidate) is not None:
            return False
        self.take(replace(candidate, nodes=1))
        return True

    def beyond_one_more(self, candidate: Candidate) -> Verdict | None:
        """Return why its namespace may not have one node more, None if it may."""
        one = replace(candidate, nodes=1)
        return self.shut_out(one) or self.too_many(one)

    def _beyond(self, candidate: Candidate, tenant: _Tenant, others: int) -> Verdict | None:
        if tenant.max_nodes is None or others + candidate.nodes <= tenant.max_nodes:
            return None
        words = limit_words.namespace_limit(candidate, self._pool, tenant.max_nodes)
        return candidate.answer(False, "NamespaceLimit", words)

    def _tenant(self, namespace: str) -> _Tenant:
        if namespace not in self._tenants:
            self._tenants[namespace] = self._look(namespace)
        return self._tenants[namespace]

    def _look(self, namespace: str) -> _Tenant:
        limits = self._spec.queue.limits
        labels = self._surroundings.namespaces.get(namespace)
        chosen = (self._spec.namespaces, *(entry.namespaces for entry in limits))
        if labels is None and any(map(selectors.needs_labels, chosen)):
            return _Tenant(not_allowed=limit_words.labels_unknown(namespace, self._pool))
        labels = labels or {}
        if not selectors.matches(self._spec.namespaces, labels):
            return _Tenant(not_allowed=limit_words.not_allowed(namespace, self._pool, self._spec.namespaces))
        mine = [entry for entry in limits if selectors.matches(entry.namespaces, labels)]
        return _Tenant(
            budget_spent=self._budget_spent(namespace, _strictest(mine, lambda it: it.node_seconds_per_30d)),
            max_priority=_strictest(mine, lambda it: it.max_priority or 0),
            max_nodes=_strictest(mine, lambda it: it.max_nodes),
        )

    def _budget_spent(self, namespace: str, budget: int | None) -> str:
        if budget is None:
            return ""
        if self._surroundings.unreadable:
            return limit_words.use_unknown(self._pool, self._surroundings.unreadable)
        days = self._surroundings.used.get(namespace, {})
        if usage.total(days, self._today) < budget:
            return ""
        day = usage.room_returns(days, budget, self._today)
        self.look_after = times.earliest(self.look_after, day * usage.DAY - self._now)
        return limit_words.budget_spent(namespace, self._pool, budget, day)


def _strictest(
    entries: Iterable[NamespaceLimit], value: Callable[[NamespaceLimit], int | None]
) -> int | None:
    return min((it for it in map(value, entries) if it is not None), default=None)
