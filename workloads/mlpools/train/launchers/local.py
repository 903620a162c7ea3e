"""All ranks of a task as processes of this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path

from mlpools import budgets
from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools.contract.tasks import INFERENCE, Task
from mlpools.contract.wiring import SHARED_BY_ENV
from mlpools.errors import PortTaken, from_final
from mlpools.supervisor import cgroup
from mlpools.supervisor.roll import LOST_SECONDS
from mlpools.supervisor.settings import THREAD_NAMES
from mlpools.train.launchers.pod import Pod, Seat, free_ports

_ADDRESS = "127.0.0.1"
_LOOK_SECONDS = 0.25
#: A port that was free a moment ago may be another program's now: so many times others are tried.
_OTHER_PORTS = 2
#: A gang that was told to stop agrees on it, saves and says goodbye within its grace period and this.
_GOODBYE_SECONDS = 5.0

#: After a failure the others know of it within the gang's own time-out, if the gang had formed, and leave.
_PARTING_SECONDS = LOST_SECONDS + 4.0


class Watcher:
    """Hears how a gang is. This one does nothing with it."""

    def line(self, rank: int, text: str) -> None:
        """Take a line of a pod's output; called in a thread of that pod."""

    def report(self, report: Report) -> None:
        """Take rank 0's report; called a few times a second."""

    def ended(self, final: Final) -> None:
        """Take how a pod ended; called for each in the order of ranks, also when all were interrupted."""


def run_locally(
    task: Task,
    *,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    watcher: Watcher | None = None,
) -> Final:
    """Run a task to its end: a supervisor for each of its nodes, all on this machine.

    An interrupt (Ctrl-C) tells the gang to stop, which saves a checkpoint; another one ends it at once.

    Args:
        task: what to do; its ``coordinator`` becomes this machine. Its URLs must be right for this machine.
        folder: an existing one, for what only matters while the task runs.
        environ: more variables for supervisors and workers.
        watcher: hears output and progress.

    Returns:
        How rank 0 ended: the final metrics, where the output is.

    Raises:
        JobError: a rank failed; of several causes the first in the order of ranks. Where the ranks are no
            gang only rank 0's end counts.
    """
    task = dataclasses.replace(task, coordinator=_ADDRESS)
    for _ in range(_OTHER_PORTS):
        with contextlib.suppress(PortTaken):
            return _run(task, folder, environ or {}, watcher or Watcher())
    return _run(task, folder, environ or {}, watcher or Watcher())


def _run(task: Task, folder: Path, environ: Mapping[str, str], watcher: Watcher) -> Final:
    pods: list[Pod] = []
    vital = 1 if task.framework == INFERENCE else task.nodes
    try:
        pods.extend(_start(task, seat, folder, environ, watcher) for seat in _seats(task.nodes))
        _attend(pods, vital, watcher)
    except BaseException:
        _stop(pods, task.grace_period_seconds)
        raise
    finally:
        for pod in pods:
            pod.close()
            watcher.ended(pod.final())
    return outcome([pod.final() for pod in pods[:vital]])


def outcome(finals: list[Final]) -> Final:
    """Return rank 0's end if all is well.

    Args:
        finals: of each pod, in the order of ranks.

    Raises:
        JobError: all is not well. A cause goes before its consequences in other ranks.
    """
    order = {Exit.DONE: 3, Exit.PEER_LOST: 2, Exit.PREEMPTED: 1}
    worst = min(finals, key=lambda final: order.get(Exit(final.code), 0))
    if worst.code != Exit.DONE:
        raise from_final(worst, of_many=len(finals) > 1)
    return finals[0]


def _seats(nodes: int) -> list[Seat]:
    coordinator, *ports = free_ports(_ADDRESS, nodes + 1)
    return [Seat(rank, _ADDRESS, port, ports[0], coordinator) for rank, port in enumerate(ports)]


def _start(task: Task, seat: Seat, folder: Path, environ: Mapping[str, str], watcher: Watcher) -> Pod:
    threads = str(cgroup.limits().threads(task.world_size))
    variables = dict.fromkeys(THREAD_NAMES, threads) if task.nodes > 1 else {}
    variables[SHARED_BY_ENV] = str(task.nodes * budgets.supervisors())
    return Pod(
        task,
        seat,
        folder,
        environ={**variables, **environ},
        listener=lambda text: watcher.line(seat.rank, text),
    )


def _attend(pods: list[Pod], vital: int, watcher: Watcher) -> None:
    """Wait until all have ended, or one has failed and the others had time to end by themselves.

    A rank that fails before the gang has formed is missed by nobody: the others wait for it to come. On a
    cluster it is the operator that ends them.

    Args:
        pods: in the order of ranks.
        vital: so many first ones cannot be missed; when these have ended, nothing is left for the others.
        watcher: hears the reports.
    """
    deadline = math.inf
    while running := [pod for pod in pods if pod.running]:
        running[0].wait(_LOOK_SECONDS)
        report = pods[0].report() if pods[0].running else None
        if report is not None:
            watcher.report(report)
        failed = [pod for pod in pods[:vital] if pod.failed]
        if any(pod.final().code == Exit.PORT_TAKEN for pod in failed):
            return  # all begin anew
        if failed or not any(pod.running for pod in pods[:vital]):
            deadline = min(deadline, time.monotonic() + _PARTING_SECONDS)
        if time.monotonic() > deadline:
            return


def _stop(pods: list[Pod], grace_seconds: float) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        for pod in pods:
            pod.stop()
        for pod in pods:
            pod.wait(grace_seconds + _GOODBYE_SECONDS)
