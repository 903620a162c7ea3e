"""What a waiting job is told: who holds the nodes, where it stands, and what would help."""

from __future__ import annotations

from collections.abc import Sequence

from mlpools_operator.domain import wording
from mlpools_operator.domain.ledger import Candidate

#: Holders that are named.
_NAMED = 3
#: Percent are told in such steps, so that a waiting job's status is not rewritten at every round.
_PERCENT_STEP = 10


def too_large(candidate: Candidate, pool: str, limit: int) -> str:
    """Tell a job that it can never fit."""
    return (
        f"Needs {wording.count(candidate.nodes, 'node')}, but pool {pool} has at most {limit}. "
        f"Use nodes: {limit} or fewer, or have the pool's maxNodes raised."
    )


def back_off(until: str) -> str:
    """Tell a job whose last attempt has just ended when it asks for nodes again."""
    return f"Its last attempt ended a moment ago; it asks for nodes again at {until}."


def waiting_for_nodes(
    candidate: Candidate, pool: str, free: int, limit: int, holders: Sequence[Candidate]
) -> str:
    """Tell the first job of the queue who holds the nodes."""
    largest = sorted(holders, key=lambda it: (-_nodes_of(it), it.namespace, it.name, it.uid))
    held = wording.listing([_holder(holder) for holder in largest], _NAMED)
    return (
        f"Needs {wording.count(candidate.nodes, 'node')} of pool {pool}, {free} of {limit} are free"
        f"{': ' + held if held else ''}. First in the queue. {_remedy(candidate, free, holders)}"
    )


def behind(candidate: Candidate, pool: str, head: Candidate, ahead: int, *, exact: bool) -> str:
    """Tell a job further back who is first, and how many are before it."""
    many = f"{wording.count(ahead, 'job')}" if exact else f"at least {ahead} jobs"
    verb = "is" if exact and ahead == 1 else "are"
    return (
        f"Needs {wording.count(candidate.nodes, 'node')} of pool {pool}; {many} {verb} ahead. First is "
        f"{head.name} ({head.namespace}), which waits for {wording.count(head.nodes, 'node')}."
    )


def _nodes_of(holder: Candidate) -> int:
    return holder.held or holder.nodes


def _holder(holder: Candidate) -> str:
    text = f"{holder.name} ({holder.namespace}) holds {_nodes_of(holder)}"
    if not holder.admitted:
        return f"{text} until its pods have ended"
    if holder.percent is None:
        return text
    done = int(holder.percent // _PERCENT_STEP * _PERCENT_STEP)
    left = "" if holder.eta_seconds is None else f" (about {wording.duration(holder.eta_seconds)} left)"
    return f"{text} and is {done} % done{left}"


def _remedy(candidate: Candidate, free: int, holders: Sequence[Candidate]) -> str:
    """Return what would let the job start sooner: a larger pool, or as few nodes as come free at once.

    After the first attempt a job's nodes cannot be changed any more.
    """
    smaller = max([free, *(_nodes_of(holder) for holder in holders)])
    if 0 < smaller < candidate.nodes and candidate.attempt == 1:
        return f"To start sooner, raise the pool's maxNodes or use nodes: {smaller}."
    return "To start sooner, raise the pool's maxNodes."
