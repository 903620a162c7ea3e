"""A rank that has less CPU than the others of its gang."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from mlpools.contract.reports import Report
from tests.support.pods import Pods, wait_for


@contextlib.contextmanager
def crowded(pods: Pods, rank: int) -> Iterator[None]:
    """Put a rank on a CPU that, once the gang is at work, another program wants all of.

    It gets a tenth of what each of the others does; its worker inherits that from its supervisor.
    """
    supervisor, cpu = pods[rank].process.pid, min(os.sched_getaffinity(0))
    os.sched_setaffinity(supervisor, {cpu})
    os.setpriority(os.PRIO_PROCESS, supervisor, 10)
    wait_for(lambda: pods[0].step() > 0, what="a step")
    neighbour = subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"])
    try:
        os.sched_setaffinity(neighbour.pid, {cpu})
        yield
    finally:
        neighbour.kill()
        neighbour.wait()


def slow(pods: Pods) -> Report | None:
    """Return rank 0's report if it names a slow rank."""
    report = pods[0].report()
    return report if report and report.slow_times else None
