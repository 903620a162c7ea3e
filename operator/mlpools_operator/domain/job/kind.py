"""What one kind of job is told apart by: everything else in this package holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from mlpools.contract.ends import Final
from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import FabricCheck, JobNodes, JobSpec, JobStatus
from mlpools_operator.domain.attempt.failures import Cause, Ending
from mlpools_operator.domain.observed import JobChild, PodChild, Resource
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods.work import Work
from mlpools_operator.domain.reasons import Retry, rule

SpecT = TypeVar("SpecT", bound=JobSpec)
StatusT = TypeVar("StatusT", bound=JobStatus)
_SpecIn = TypeVar("_SpecIn", bound=JobSpec, contravariant=True)
_StatusIn = TypeVar("_StatusIn", bound=JobStatus, contravariant=True)

#: New values of some fields of a status.
Changes = Mapping[str, Any]


class RefusedError(ValueError):
    """A job cannot run as it is; the text is a sentence for its author.

    Attributes:
        reason: of its condition.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Said(NamedTuple):
    """A condition that holds."""

    name: str
    reason: str
    message: str


class Account(Protocol[_SpecIn, _StatusIn]):
    """What the status of a kind tells of the work itself: how far it is, and where its results are."""

    def begun(self, before: _StatusIn, spec: _SpecIn) -> Changes:
        """An attempt gets its nodes."""

    def reported(self, before: _StatusIn, report: Report | None, now: float) -> Changes:
        """Rank 0 says how far it is; a report that says nothing new changes nothing."""

    def halted(self, before: _StatusIn) -> Changes:
        """Nothing runs: what was said of a job that does is true no more."""

    def left(self, before: _StatusIn, finals: Sequence[Final]) -> Changes:
        """An attempt ends without a result; these are the last words of its pods."""

    def failed(self, before: _StatusIn, cause: Cause, now: float) -> Changes:
        """An attempt failed of a cause."""

    def finished(self, before: _StatusIn, final: Final) -> Changes:
        """Rank 0 has committed the result."""

    def conditions(self, words: Report | Final | None) -> Sequence[Said]:
        """Return what rank 0 has to say in conditions of the kind's own, which hold to the end of the job."""

    def learned(self, before: _StatusIn) -> Mapping[str, Any]:
        """Return what earlier attempts tell the next one, as fields of its section."""

    def network(self, before: _StatusIn) -> FabricCheck | None:
        """Return the last check of the network between its pods."""

    def useful(self, before: _StatusIn, spec: _SpecIn) -> int | None:
        """Return for how many nodes there is something to do; None = nobody knows."""


class Words(Protocol[_SpecIn, _StatusIn]):
    """What people are told of a kind's work."""

    def running(self, attempt: int, nodes: int) -> Said:
        """Say that it works."""

    def resumes(self, before: _StatusIn, finals: Sequence[Final]) -> str:
        """Return a sentence about where the next attempt goes on, with a space before; or nothing."""

    def success(self, final: Final | None, spec: _SpecIn, nodes: int, attempt: int) -> str:
        """Tell of the result, or where to look for it if the report of rank 0 was lost."""


class Holding(Protocol[_SpecIn, _StatusIn]):
    """How the attempts of a kind hold nodes, and when they are over."""

    def asks(self, spec: _SpecIn) -> int:
        """Return the nodes without which an attempt does not begin."""

    def uses(self, before: _StatusIn, spec: _SpecIn, useful: int | None) -> int:
        """Return the most nodes that it can use; ``useful``: as many have something to do; None = unknown."""

    def holds(self, before: _StatusIn, spec: _SpecIn | None) -> int:
        """Return the nodes of the present attempt; the spec is None if it cannot be read."""

    def keeps(self, before: _StatusIn, spec: _SpecIn, *, made: bool) -> int:
        """Return the nodes that it keeps although its pods are fewer; ``made``: its Job is there."""

    def nodes(self, before: _StatusIn, spec: _SpecIn | None, ready: int, failed: Sequence[Cause]) -> JobNodes:
        """Return what the status says of nodes: those that are ready, and those that failed now."""

    def granted(self, before: _StatusIn, nodes: int, now: float, lost: int = 0) -> Changes:
        """The attempt holds so many nodes from now on; ``lost``: it gave back so many that were of no use."""

    def spent(self, before: _StatusIn, spec: _SpecIn | None, held_for: float, now: float) -> Changes:
        """The attempt gives its nodes back after so many seconds; 0 if there is none."""

    def held_seconds(self, before: _StatusIn, spec: _SpecIn) -> float:
        """Return for how long earlier attempts held nodes."""

    def judge(
        self, job: JobChild | None, pods: Sequence[PodChild], nodes: int, grace: float, now: float
    ) -> Ending | None:
        """Say how an attempt ended, or None while it goes on; arguments as of ``failures.judge``."""

    def vital(self, pods: Sequence[PodChild], nodes: int) -> tuple[Sequence[PodChild], int]:
        """Return the pods without which an attempt does not work, and how many of them there must be."""

    def ready(self, pods: Sequence[PodChild], nodes: int) -> int:
        """Return how many nodes of an attempt that works have a pod that runs."""

    def lost(self, before: _StatusIn, job: JobChild | None) -> int:
        """Return how many nodes of an attempt were of no use: their pods only failed."""

    def wanted(self, before: _StatusIn, job: JobChild | None, pods: Sequence[PodChild], nodes: int) -> int:
        """Return how many of its nodes an attempt wants to keep."""

    def pods(self, job: JobChild, nodes: int) -> int:
        """Return how many pods the attempt's Job is to have."""

    def form(self, spec: _SpecIn, nodes: int) -> Object:
        """Return the fields of an attempt's Job that say how many pods there are, and when it is over."""


@dataclass(frozen=True)
class JobKind(Generic[SpecT, StatusT]):
    """One kind of job.

    Attributes:
        name: of the kind, such as ``TrainingJob``.
        status: the model of its status.
        check: returns the spec of a job that may run; ``started``: it was admitted before, and then rules
            that a newer operator brought do not end it. Raises ``RefusedError``.
        work: what its pods are told to do.
        account: what its status tells of the work.
        words: what people are told of it.
        holding: how its attempts hold nodes.
        reads: fields of the spec in whose URLs a schedule fills in the time.
        writes: fields of the spec under whose URL each run of a schedule has a folder of its own.
        lasting: conditions of its own, which hold to the end once they were told.
        retries: what reasons mean for it, where it is not what they mean for others.
    """

    name: str
    status: type[StatusT]
    check: Callable[[Resource, bool], SpecT]
    work: Callable[[SpecT], Work]
    account: Account[SpecT, StatusT]
    words: Words[SpecT, StatusT]
    holding: Holding[SpecT, StatusT]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    lasting: tuple[str, ...] = ()
    retries: Mapping[str, Retry] = field(default_factory=dict)

    def rule(self, reason: str) -> Retry:
        """Return what a reason means for a job of this kind."""
        return self.retries.get(reason) or rule(reason)


#: One of them, whichever.
AnyKind = JobKind[Any, Any]
