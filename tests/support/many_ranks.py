"""A gang in the threads of this process: XGBoost's collective is a thread's, not a process's.

Quicker than processes by far, and a test can reach into every rank. What ends a gang early is tested with
``pods``: a rank that failed leaves by ``os._exit``, as a thread cannot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlpools.contract.ends import Final
from mlpools.contract.reports import Phase, Report
from mlpools.contract.tasks import Task
from mlpools.gang import Gang
from mlpools.runtime.launch import work
from mlpools.supervisor.status import StatusServer
from mlpools.train.job import Job
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from mlpools.train.trees.hooks import Hooks
from tests.support.pods import free_ports
from tests.support.waiting import PATIENCE


class Supervisor(Reporter):
    """Rank 0's supervisor, as far as the others ask it."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.report = Report(phase=Phase.DATA.value)
        self.asked = 0
        self.server = StatusServer(port, {("GET", "/status"): self._answer})

    def _answer(self, _: bytes) -> str:
        self.asked += 1
        return self.report.to_json()

    def phase(self, phase: Phase) -> None:
        self.report = dataclasses.replace(self.report, phase=phase.value)


def train(task: Task, hooks: Callable[[int], Hooks] = lambda _: Hooks()) -> list[Final]:
    """Run a task on all its ranks, and return how each ended.

    Args:
        task: with as many ranks as it has nodes.
        hooks: of each rank.

    Raises:
        Exception: of the lowest rank that failed before the ranks met.
    """
    port, leader = free_ports(2)
    reporters = [Supervisor(leader), *(Reporter() for _ in range(task.nodes - 1))]
    reporters[0].report = dataclasses.replace(reporters[0].report, attempt=task.attempt)

    def run(rank: int) -> Any:
        gang = Gang(rank, task.nodes, "127.0.0.1", port, leader)
        return work(Job(task, gang, reporters[rank], Stop(60), hooks(rank)))

    with ThreadPoolExecutor(task.nodes) as threads:
        futures = [threads.submit(run, rank) for rank in range(task.nodes)]
        return [future.result(PATIENCE) for future in futures]
