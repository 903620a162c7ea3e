"""What a waiting job is told: who holds the nodes, where it stands, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlpools_operator.domain import wording
from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.domain.queue.preemption import Victim

#: Holders that are named.
_NAMED = 3
#: Percent are told in such steps, so that a waiting job's status is not rewritten at every round.
_PERCENT_STEP = 10


def back_off(until: str) -> str:
    """Tell a job whose last attempt has just ended when it asks for nodes again."""
    return f"Its last attempt ended a moment ago; it asks for nodes again at {until}."


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the first of the queue waits for.

    Attributes:
        free: nodes that nobody holds.
        holders: of the others.
        now: seconds since the epoch.
        coming: nodes that are about to come free are all that it lacks.
        victims: those that have to give nodes back for it.
        kept: nobody passes it any more.
    """

    free: int
    holders: Sequence[Candidate]
    now: float
    coming: bool = False
    victims: Sequence[Victim] = ()
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """The sentences of one pool.

    Attributes:
        pool: its name.
        limit: its ``maxNodes``.
        names: whether jobs of other namespaces are named.
    """

    pool: str
    limit: int
    names: bool = True

    def too_large(self, candidate: Candidate) -> str:
        """Tell a job that it can never fit."""
        return (
            f"Needs {wording.count(candidate.nodes, 'node')}, but pool {self.pool} has at most {self.limit}. "
            f"Use nodes: {self.limit} or fewer, or have the pool's maxNodes raised."
        )

    def first(self, candidate: Candidate, outlook: Outlook) -> str:
        """Tell the first job of the queue who holds the nodes, and when or how it gets them."""
        holders = self._holders(candidate, outlook)
        return (
            f"{self._needs(candidate)}, {outlook.free} of {self.limit} are free"
            f"{': ' + holders if holders else ''}. First in the queue{self._prospect(candidate, outlook)}"
        )

    def behind(self, candidate: Candidate, ahead: int, first: Candidate, *, kept: bool) -> str:
        """Tell a job near the front who is first, and how many are before it."""
        verb = "is" if ahead == 1 else "are"
        keeping = ", and freed nodes are kept for it" if kept else ""
        return (
            f"{self._needs(candidate)}; {wording.count(ahead, 'job')} {verb} ahead. First is "
            f"{self._name(first, candidate)}, which waits for {wording.count(first.nodes, 'node')}{keeping}."
        )

    def far_behind(self, candidate: Candidate, ahead: int) -> str:
        """Tell a job further back about how many are before it."""
        return f"{self._needs(candidate)}; about {ahead} jobs are ahead."

    def queue_full(self, most: int) -> str:
        """Tell a job that there is no room in the queue."""
        return (
            f"The queue of pool {self.pool} takes {wording.count(most, 'job')}, and those that are in it are "
            "served first. This one joins by itself when there is room."
        )

    def not_larger(self, holder: Candidate, *, crowded: bool) -> str:
        """Tell one that grows node by node why it does not."""
        asked = f"It asks for {wording.count(holder.most, 'node')} of pool {self.pool} in all"
        if holder.most > self.limit:
            return f"{asked}, which has at most {self.limit}."
        if crowded:
            return f"{asked}; others wait for nodes there, and come first."
        return f"{asked}, of which none is free now."

    def preempted(self, victim: Candidate, taker: Candidate) -> str:
        """Tell a job who takes its nodes."""
        return (
            f"It gives its {wording.count(victim.in_use, 'node')} of pool {self.pool} to "
            f"{self._name(taker, victim)}, which has priority {taker.priority} (this one has "
            f"{victim.priority}). It queues again with its age, and goes on from what it has saved."
        )

    def _needs(self, candidate: Candidate) -> str:
        return f"Needs {wording.count(candidate.nodes, 'node')} of pool {self.pool}"

    def _name(self, other: Candidate, reader: Candidate) -> str:
        if self.names or other.namespace == reader.namespace:
            return f"{other.name} ({other.namespace})"
        return "a job of another namespace"

    def _holders(self, reader: Candidate, outlook: Outlook) -> str:
        largest = sorted(outlook.holders, key=lambda it: (-it.in_use, it.namespace, it.name, it.uid))
        known = [it for it in largest if self.names or it.namespace == reader.namespace]
        told = wording.listing([_holder(it, outlook.now) for it in known], _NAMED)
        hidden = len(largest) - len(known)
        if not hidden:
            return told
        nodes = sum(it.in_use for it in largest) - sum(it.in_use for it in known)
        verb = "holds" if hidden == 1 else "hold"
        others = f"{wording.count(hidden, 'job')} of other namespaces {verb} {nodes}"
        return f"{told}, {others}" if told else others

    def _prospect(self, candidate: Candidate, outlook: Outlook) -> str:
        if outlook.victims:
            return f"; {' and '.join(self._gives_back(candidate, outlook.victims))}."
        if outlook.coming:
            return "; it starts when the pods that are ending are gone."
        keeping = ", and freed nodes are kept for it" if outlook.kept else ""
        return f"{keeping}. {_remedy(candidate, outlook)}"

    def _gives_back(self, candidate: Candidate, victims: Sequence[Victim]) -> Iterator[str]:
        """Yield who stops for a job, and who goes on with less for it."""
        stop = [self._name(it.candidate, candidate) for it in victims if not it.keeps]
        if stop:
            verb, what = ("gives", "its") if len(stop) == 1 else ("give", "their")
            names = wording.listing(stop, _NAMED)
            yield f"it has a higher priority, so {names} {verb} {what} nodes back for it"
        lent = [self._name(it.candidate, candidate) for it in victims if it.keeps]
        if lent:
            verb, who = ("gives", "it") if len(lent) == 1 else ("give", "they")
            nodes = wording.count(sum(it.gives for it in victims if it.keeps), "node")
            names = wording.listing(lent, _NAMED)
            yield f"{names} {verb} back {nodes} that {who} took while nobody waited"


def _holder(holder: Candidate, now: float) -> str:
    text = f"{holder.name} ({holder.namespace}) holds {holder.in_use}"
    lost = holder.stranded(now)
    if lost:
        places = wording.listing(tuple(dict.fromkeys(lost)), _NAMED)
        some = f", {len(lost)} of them" if len(lost) < holder.in_use else ""
        return f"{text}{some} on {places} until that answers or its Node is deleted"
    if holder.leaving:
        return f"{text} until its pods have ended"
    if holder.percent is None:
        return text
    done = int(holder.percent // _PERCENT_STEP * _PERCENT_STEP)
    left = "" if holder.eta_seconds is None else f" (about {wording.duration(holder.eta_seconds)} left)"
    return f"{text} and is {done} % done{left}"


def _remedy(candidate: Candidate, outlook: Outlook) -> str:
    """Return what would let the job start sooner: a larger pool, or as few nodes as come free at once.

    After the first attempt a job's nodes cannot be changed any more.
    """
    smaller = max([outlook.free, *(holder.in_use for holder in outlook.holders)])
    if 0 < smaller < candidate.nodes and candidate.attempt == 1:
        return f"To start sooner, raise the pool's maxNodes or use nodes: {smaller}."
    return "To start sooner, raise the pool's maxNodes."
