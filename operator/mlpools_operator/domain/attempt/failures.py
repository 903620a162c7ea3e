"""From the states of an attempt's pods and Job to one cause.

When one rank dies the others die of it within a second, so the first pod that is seen dead is seldom the
one that matters. The decision waits until all pods are terminal, or ``SETTLE_SECONDS`` after the first
failure, and then takes the gravest cause; of equal ones the first to finish, then the lowest rank.
"""

from __future__ import annotations

import enum
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlpools.contract.ends import REASONS, Exit, Final
from mlpools_operator.domain.attempt import reports
from mlpools_operator.domain.observed import JobChild, PodChild

#: From the first failure to the decision, while some pods still run.
SETTLE_SECONDS = 10.0

#: DisruptionTarget reasons after which a machine will not tell how its pod ended.
_MACHINE_GONE = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
#: The kubelet evicts for the node's sake ("was low on resource") or for the pod's own limit ("exceeds").
_OWN_LIMIT = re.compile(r"exceed", re.IGNORECASE)
#: In the Job controller's words; a pod's name is ``<job>-<attempt>-<rank>-<random>``.
_JOB_POD = re.compile(r"\bpod \S+?/(?P<pod>\S+-(?P<rank>\d+)-\w+)", re.IGNORECASE)
_JOB_EXIT = re.compile(r"\bexit code (?P<code>\d+)")
_SIGNAL_BASE = 128


class Gravity(enum.IntEnum):
    """Which cause explains the others: a lower one wins."""

    MACHINE = 0
    MEMORY = 1
    CODE = 2
    CRASH = 3
    STOPPED = 4
    PEER = 5


#: Where an exit code stands. PREEMPTED without a disruption of the pod comes after everything that can
#: bring it about: once a rank has failed, the Job controller stops the others. It comes before PEER_LOST,
#: since a gang that still can agree to stop has lost nobody.
_GRAVITY = {
    Exit.HUNG: Gravity.CRASH,
    Exit.SIGNAL: Gravity.CRASH,
    Exit.INTERNAL: Gravity.CRASH,
    Exit.PREEMPTED: Gravity.STOPPED,
    Exit.PEER_LOST: Gravity.PEER,
}


@dataclass(frozen=True, slots=True)
class Cause:
    """What one pod died of.

    Attributes:
        at: when, in seconds since the epoch; 0 if nobody knows.
        rank: node rank; None if it is about no pod, or about one that nobody knows any more.
        final: the pod's own account, if it left one.
    """

    gravity: Gravity
    reason: str
    message: str
    at: float = 0.0
    rank: int | None = None
    pod: str = ""
    node: str = ""
    exit_code: int | None = None
    final: Final | None = None

    @property
    def order(self) -> tuple[int, float, int, str]:
        """Sorts causes: the gravest first, then the first to finish, then the lowest rank."""
        return (self.gravity, self.at, -1 if self.rank is None else self.rank, self.pod)


@dataclass(frozen=True, slots=True)
class Undecided:
    """Something failed, and what explains it may still come to light."""

    until: float


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Rank 0 committed the result; ``final`` is None if its report was lost."""

    final: Final | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt is over.

    Attributes:
        cause: the one that explains the others.
        causes: of all failed pods, the cause first.
    """

    cause: Cause
    causes: tuple[Cause, ...]


Ending = Undecided | Succeeded | Failed


def judge(
    job: JobChild | None, pods: Sequence[PodChild], nodes: int, grace: float, now: float
) -> Ending | None:
    """Say how an attempt ended, or None while it goes on.

    Args:
        job: the attempt's Job.
        pods: of this attempt only.
        nodes: size of the gang.
        grace: seconds that a pod has between SIGTERM and SIGKILL.
        now: seconds since the epoch.
    """
    winner = next((pod for pod in pods if pod.rank == 0 and pod.phase == "Succeeded"), None)
    if winner is not None:
        return Succeeded(reports.read_final(winner.termination))
    if job is not None and job.ended == "Complete":
        return Succeeded(None)
    dead = [cause for pod in pods if (cause := cause_of(pod, grace, now))]
    causes = _with_witness(dead, job, pods)
    over = (job is not None and job.ended == "Failed") or (
        len(pods) >= nodes and all(pod.terminal for pod in pods)
    )
    if over:
        return _failed(causes or [_unexplained(job)])
    if not dead:
        return None
    until = min(cause.at for cause in dead) + SETTLE_SECONDS
    if now < until:
        return Undecided(until)
    return _failed(_blame_the_silent(causes, pods))


def cause_of(pod: PodChild, grace: float, now: float) -> Cause | None:
    """Return what a pod died of; None for one that lives, succeeded, or still has time to end by itself."""
    if pod.phase == "Succeeded":
        return None
    died = pod.terminal or pod.exit_code not in (None, Exit.DONE)
    if not died and not _is_overdue(pod, grace, now):
        return None
    found = _of_machine(pod) or (_of_init_container if pod.init_container else _of_container)(pod)
    final = reports.read_final(pod.termination)
    return replace(
        found,
        at=pod.finished or _overdue_at(pod, grace),
        rank=pod.rank,
        pod=pod.meta.name,
        node=pod.node,
        exit_code=pod.exit_code,
        final=final,
    )


def is_machine_gone(pod: PodChild) -> bool:
    """Whether the cluster gave up the pod's machine, so that the pod will never tell how it ended."""
    return pod.disruption in _MACHINE_GONE


def _overdue_at(pod: PodChild, grace: float) -> float:
    """When a disrupted pod counts as dead: at once if its machine is gone, else when its grace is over."""
    return pod.disrupted if is_machine_gone(pod) else pod.disrupted + grace


def _is_overdue(pod: PodChild, grace: float, now: float) -> bool:
    return bool(pod.disruption) and now >= _overdue_at(pod, grace)


def _of_machine(pod: PodChild) -> Cause | None:
    """Return the cause if the machine, or somebody who wanted it, ended the pod."""
    where = pod.node or "its machine"
    if is_machine_gone(pod) or pod.reason == "NodeLost":
        return Cause(Gravity.MACHINE, "NodeLost", f"{where} was lost (not ready, not reachable or removed)")
    if pod.reason == "Evicted" and _OWN_LIMIT.search(pod.message):
        return Cause(Gravity.CODE, "OutOfDisk", f"it was evicted from {where}: {pod.message}")
    if pod.disruption or pod.reason == "Evicted":
        words = pod.message or {
            "PreemptionByScheduler": "a pod of higher priority needed the place",
            "EvictionByEvictionAPI": "the machine was drained",
            "TerminationByKubelet": "the machine was shut down or ran short of a resource",
        }.get(pod.disruption, pod.disruption)
        return Cause(Gravity.MACHINE, "Preempted", f"it was evicted from {where}: {words}")
    if pod.phase == "Failed" and pod.exit_code is None:
        words = ": ".join(word for word in (pod.reason, pod.message) if word) or "no reason given"
        return Cause(Gravity.MACHINE, "NodeLost", f"{where} gave it up: {words}")
    return None


def _of_container(pod: PodChild) -> Cause:
    """Return the cause that the container itself tells of."""
    if pod.exit_reason == "OOMKilled":
        limit = f" of {pod.memory_limit}" if pod.memory_limit else ""
        return Cause(Gravity.MEMORY, "OutOfMemory", f"it ran out of memory at the limit{limit}")
    final = reports.read_final(pod.termination)
    code = pod.exit_code or 0
    if code in REASONS:
        message = (final.message if final else "") or "it left no message; its log may tell more"
        return Cause(_GRAVITY.get(Exit(code), Gravity.CODE), REASONS[code], message)
    said = f": {pod.termination}" if pod.termination and final is None else ""
    return Cause(Gravity.CRASH, "WorkerCrashed", f"{_exit_in_words(code)}{said}")


def _of_init_container(pod: PodChild) -> Cause:
    """Return the cause if an init container failed, so that the job's own container never started.

    Ours, which lays mlpools beside an image of the job's own, says itself what is wrong; the others are the
    pool's, and may have ended with any code.
    """
    final, name = reports.read_final(pod.termination), pod.init_container
    if final is not None and final.code == pod.exit_code and final.code in REASONS:
        return Cause(_GRAVITY.get(Exit(final.code), Gravity.CODE), REASONS[final.code], final.message)
    if pod.exit_reason == "OOMKilled":
        limit = f" of {pod.memory_limit}" if pod.memory_limit else ""
        how = f"ran out of memory at its limit{limit}"
    else:
        how = _ended(pod.exit_code or 0)
    said = f": {pod.termination}" if pod.termination and final is None else ""
    return Cause(Gravity.CODE, "InitContainerFailed", f"its init container {name!r} {how}{said}")


def _exit_in_words(code: int) -> str:
    return f"its main process {_ended(code, ' before it could say why')}"


def _ended(code: int, without_a_word: str = "") -> str:
    if code > _SIGNAL_BASE:
        try:
            return f"was killed by {signal.Signals(code - _SIGNAL_BASE).name}"
        except ValueError:
            pass
    return f"ended with exit code {code}{without_a_word}"


def _with_witness(dead: Sequence[Cause], job: JobChild | None, pods: Sequence[PodChild]) -> list[Cause]:
    """Return all causes, sorted, with what only the Job still tells of a pod that is gone.

    A pod that was deleted, as evicted ones are, disappears as soon as it has ended.
    """
    witness = _of_job(job)
    known = witness is None or witness.pod in {pod.meta.name for pod in pods}
    return sorted([*dead, *([] if witness is None or known else [witness])], key=lambda cause: cause.order)


def _of_job(job: JobChild | None) -> Cause | None:
    """Return what the Job's condition says of the pod for which it failed, if it names one."""
    if job is None or not job.message:
        return None
    named = _JOB_POD.search(job.message)
    code = _JOB_EXIT.search(job.message)
    if "DisruptionTarget" in job.message:
        found = Cause(Gravity.MACHINE, "Preempted", "it was evicted, and is gone")
    elif code is not None and int(code["code"]) in REASONS:
        number = int(code["code"])
        found = Cause(_GRAVITY.get(Exit(number), Gravity.CODE), REASONS[number], "its report was lost")
    elif code is not None:
        found = Cause(Gravity.CRASH, "WorkerCrashed", _exit_in_words(int(code["code"])))
    else:
        return None
    return replace(
        found,
        rank=int(named["rank"]) if named else None,
        pod=named["pod"] if named else "",
        exit_code=int(code["code"]) if code else None,
    )


def _unexplained(job: JobChild | None) -> Cause:
    """Return the cause if no pod is left that could tell: pods that fail by themselves stay."""
    words = f" ({job.message})" if job and job.message else ""
    return Cause(Gravity.STOPPED, "Preempted", f"its pods were deleted before they could say why{words}")


def _blame_the_silent(causes: list[Cause], pods: Sequence[PodChild]) -> list[Cause]:
    """If all that is known is a lost peer, the rank that still says nothing is the one that was lost."""
    if causes[0].gravity is not Gravity.PEER:
        return causes
    heard = {cause.pod for cause in causes}
    silent = [pod for pod in pods if pod.started and not pod.terminal and pod.meta.name not in heard]
    lost = [
        Cause(
            Gravity.MACHINE,
            "NodeLost",
            f"{pod.node or 'its machine'} stopped answering: the other ranks lost it, and it does not end",
            rank=pod.rank,
            pod=pod.meta.name,
            node=pod.node,
        )
        for pod in silent
    ]
    return sorted([*lost, *causes], key=lambda cause: cause.order)


def _failed(causes: list[Cause]) -> Failed:
    return Failed(causes[0], tuple(causes))
