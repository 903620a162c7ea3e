"""What a job is told that waits for its namespace's sake: which rule, and whom to ask.

Numbers that move while it waits are left out: thousands of jobs may be told the same, and each change of a
sentence is a write for each of them.
"""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import NamespaceSelector
from mlpools_operator.domain import selectors, wording
from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.domain.queue.usage_record import day_in_words

_SELECTOR_BYTES = 256


def not_allowed(namespace: str, pool: str, selector: NamespaceSelector) -> str:
    """Tell a job that its namespace may not use the pool."""
    meant = wording.fit(selectors.in_words(selector), _SELECTOR_BYTES)
    return (
        f"Namespace {namespace} may not use pool {pool}, which is for namespaces with {meant}. It starts "
        f"when that changes: {_ask('label the namespace')} or widen the pool's spec.namespaces, or make a "
        "job with another computePool."
    )


def labels_unknown(namespace: str, pool: str) -> str:
    """Tell a job that nobody can say whether its namespace is meant."""
    return (
        f"Pool {pool} chooses namespaces by their labels, and the operator cannot read those of {namespace}. "
        "It starts when it can: ask the cluster's administrator to let the operator read the namespace "
        f"(get, in namespace {namespace})."
    )


def priority_too_high(candidate: Candidate, pool: str, highest: int) -> str:
    """Tell a job that it asks for too high a priority."""
    return (
        f"Priority {candidate.priority} is too high: jobs of namespace {candidate.namespace} have at most "
        f"{highest} in pool {pool}. Set spec.priority to {highest} or lower, or "
        f"{_ask('raise maxPriority in its queue.limits')}."
    )


def namespace_limit(candidate: Candidate, pool: str, limit: int) -> str:
    """Tell a job that its namespace would hold too many nodes."""
    needs = (
        f"Needs {wording.count(candidate.nodes, 'node')} of pool {pool}, "
        f"where jobs of namespace {candidate.namespace} hold at most {limit} together"
    )
    raised = _ask("raise maxNodes in its queue.limits")
    if candidate.nodes > limit:
        return f"{needs}. Use nodes: {limit} or fewer, or {raised}."
    return f"{needs}. It starts when others of the namespace have ended; to start sooner, {raised}."


def budget_spent(namespace: str, pool: str, budget: int, day: int) -> str:
    """Tell a job that its namespace has used up its share."""
    return (
        f"Namespace {namespace} has spent its budget of {budget} node seconds of pool {pool} in 30 days. "
        f"Room returns on {day_in_words(day)} (UTC), if nothing more is used; to start sooner, "
        f"{_ask('raise nodeSecondsPer30d in its queue.limits')}."
    )


def use_unknown(pool: str, why: str) -> str:
    """Tell a job that nobody can say what its namespace has used."""
    return (
        f"How much of pool {pool} was used is not known: {why}. It starts when the cluster's administrator "
        "has corrected or deleted that ConfigMap."
    )


def _ask(what: str) -> str:
    return f"ask the pool's administrator to {what}"
