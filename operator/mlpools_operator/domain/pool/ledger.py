"""Who holds how many nodes of a pool, and what admission says to each job: values shared by pool and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mlpools_operator.api.v1alpha1 import FabricCheck
from mlpools_operator.domain.pool.capacity import Finding
from mlpools_operator.domain.pool.half_gangs import HalfGang
from mlpools_operator.domain.pool.life import Life


@dataclass(frozen=True, slots=True)
class Pods:
    """The living pods of one candidate.

    Attributes:
        unscheduled: those without a machine.
        scheduled: those with one.
        running: of these, those whose containers run.
    """

    unscheduled: int = 0
    scheduled: int = 0
    running: int = 0


@dataclass(frozen=True, slots=True)
class Stranded:
    """A pod that was told to end and holds its node until its machine answers or is taken out.

    Attributes:
        machine: its name.
        since: until then it may just take its time.
    """

    machine: str
    since: float


@dataclass(frozen=True, slots=True)
class Brings:
    """What a job brings along in which its pool has a say.

    Attributes:
        image: empty for the pool's own.
        volumes: names of its volumes.
        mounts: paths at which it mounts them.
        packages: that it names, such as ``polars==1.2``.
    """

    image: str = ""
    volumes: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


class Ticket(NamedTuple):
    """What a grant is good for: this resource, attempt and spec, with these nodes, and nothing else."""

    uid: str
    attempt: int
    generation: int
    admitted: bool
    size: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job (later also a batch inference or a notebook) as admission sees it.

    Attributes:
        uid: of the resource.
        nodes: without which it does not start.
        most: nodes that it can use; 0: ``nodes`` are all. It grows up to so many as they come free.
        size: nodes that its status says it has.
        target: nodes that it was promised or told to keep, and its status does not show yet; 0: as it shows.
        created: its age counts from here, also after a restart or a preemption.
        held: nodes that it holds now: its pods that are neither terminal nor gone, or all that it was
            admitted for while its pods are still being made.
        pods: those of them that are made.
        admitted: its status says ``Admitted=True`` for the current attempt.
        not_before: back-off: not to be admitted before this time.
        attempt: the attempt that holds nodes, or the next one that asks for them.
        generation: of the resource when it asked: a changed spec asks anew.
        finding: what its newest attempt that looked for machines found; None before the first.
        fabric: what its newest attempt that measured its network found; None before the first.
        admitted_at: when the present attempt was admitted; 0 while its status does not say so.
        stopping: it is admitted, but its status says that the attempt stops: its nodes are on their way out.
        evicting: it was told to give its nodes back, which its status does not show yet.
        preemptible: one of higher priority may take its nodes.
        keeps: whatever it grew by is its own, until it gives that back itself.
        shown_ahead: how many its status says are ahead of it in the queue.
        blocked: reason for which it may not be admitted at all, empty if it may (``Suspended``, …).
        freed: when pods of the present attempt ended, in order: a node that came free while nobody looked
            came free then.
        brings: what its pool has a say in.
        ending: its pods that were told to end, and when they count as stranded.
        half: how it stands if it has machines for some of its pods only.
    """

    uid: str
    kind: str
    namespace: str
    name: str
    nodes: int
    priority: int
    created: float
    held: int = 0
    pods: Pods = Pods()
    admitted: bool = False
    not_before: float = 0.0
    blocked: str = ""
    percent: float | None = None
    eta_seconds: float | None = None
    attempt: int = 1
    generation: int = 0
    admitted_at: float = 0.0
    finding: Finding | None = None
    fabric: FabricCheck | None = None
    stopping: bool = False
    evicting: bool = False
    preemptible: bool = True
    keeps: bool = False
    shown_ahead: int = 0
    freed: tuple[float, ...] = ()
    brings: Brings = Brings()
    ending: tuple[Stranded, ...] = ()
    half: HalfGang | None = None
    most: int = 0
    size: int = 0
    target: int = 0

    @property
    def in_use(self) -> int:
        """Nodes that it keeps from others: what it holds, or what it was just promised."""
        return self.held or (self.nodes if self.admitted else 0)

    @property
    def leaving(self) -> bool:
        """Whether the nodes that it holds are about to come free."""
        return self.stopping or not self.admitted

    def stranded(self, now: float) -> tuple[str, ...]:
        """Return the machine of each pod that holds a node, and may do so for ever."""
        return tuple(sorted(pod.machine for pod in self.ending if pod.since <= now))

    @property
    def share(self) -> int:
        """Nodes that its present attempt is to have, from what was said to it."""
        return self.target or self.size

    @property
    def room(self) -> int:
        """How many nodes more it could use; 0 unless it holds some and keeps them."""
        return max(0, self.most - self.share) if self._may_be_resized else 0

    @property
    def lent(self) -> int:
        """Nodes that it took since nobody waited for them, and goes on without when somebody does."""
        lends = self.most and self._may_be_resized and not self.keeps
        return max(0, self.share - self.nodes) if lends else 0

    @property
    def _may_be_resized(self) -> bool:
        may = self.preemptible or self.keeps
        return self.admitted and may and not (self.stopping or self.evicting)

    @property
    def comes_free(self) -> int:
        """Nodes that it holds and is about to give back, while it goes on with the others."""
        return 0 if self.leaving or not self.most else max(0, self.held - self.share)

    @property
    def ticket(self) -> Ticket:
        """What a grant is good for."""
        return Ticket(self.uid, self.attempt, self.generation, self.admitted, self.size)

    def granted(self, nodes: int) -> Candidate:
        """Return it with so many nodes in all for its attempt; what else it holds is of earlier ones."""
        return replace(self, admitted=True, target=nodes, held=self.held + nodes - self.size)

    def answer(self, admit: bool, reason: str = "", message: str = "", **more: Any) -> Verdict:
        """Return a verdict on this attempt and spec; ``more`` are further fields of the verdict."""
        fields = {"nodes": self.share if admit else 0, **more}
        return Verdict(
            admit,
            reason,
            message,
            attempt=self.attempt,
            generation=self.generation,
            size=self.size,
            **fields,
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a decision about a pool reads besides the pool and its candidates.

    Attributes:
        namespaces: labels by namespace; one is absent while the operator does not know it.
        used: node seconds of the pool by namespace and UTC day (days since the epoch), up to now.
        unreadable: why ``used`` is not known, empty when it is.
    """

    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    used: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What admission says of one candidate.

    Attributes:
        admit: it may take its nodes (or keep what it has).
        reason: while waiting: ``WaitingForNodes``, ``BehindInQueue``, ``PoolSuspended``, ``TooLarge``, …
        message: one sentence: who holds the nodes and what would help.
        position: 1 = first in the queue, 0 = not queued.
        ahead: candidates before it.
        attempt: of the candidate: a verdict on an earlier attempt says nothing about the next one.
        generation: of the candidate: a verdict on an earlier spec says nothing about the changed one.
        evict: one that is admitted has to give its nodes back now; the message names who takes them.
        nodes: that it gets, or may keep; 0 if it gets none.
        size: nodes that its status told of when this was decided: with others it says nothing of ``nodes``.
    """

    admit: bool
    reason: str = ""
    message: str = ""
    position: int = 0
    ahead: int = 0
    attempt: int = 1
    generation: int = 0
    evict: bool = False
    nodes: int = 0
    size: int = 0

    def holds_for(self, attempt: int, generation: int) -> bool:
        """Whether this verdict is about that attempt of that spec (generation 0: of any spec)."""
        return self.attempt == attempt and self.generation in (0, generation)


@dataclass(frozen=True, slots=True)
class Head:
    """One that came to the head of the queue.

    Attributes:
        uid: of the candidate.
        since: when it came there.
    """

    uid: str
    since: float


@dataclass(frozen=True, slots=True)
class Decision:
    """One pass of admission over a pool.

    Attributes:
        verdicts: by UID of the candidate.
        held: nodes in use after this pass, never above the pool's ``maxNodes`` through an admission.
        heads: who came to the head of the queue and still waits; the present head first.
        requeue_after: seconds until a verdict could change by time alone.
        life: whether the pool was open; None for one that cannot be used at all.
        waiting: those who ask for nodes and did not get them, without those that the pool does not take.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    held: int = 0
    heads: tuple[Head, ...] = ()
    requeue_after: float | None = None
    life: Life | None = None
    waiting: int = 0
