"""When each job reached which phase, as a watch tells it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection

import urllib3

from bench.scale.watch import watch
from tests.support.kube import Kube, Object
from tests.support.operator import Operator

_JOBS = "/apis/mlpools.dev/v1alpha1/trainingjobs"


class Follow:
    """Watches all TrainingJobs from the moment it is made.

    Attributes:
        reached: by phase, when each job was first seen in it.
    """

    def __init__(self, kube: Kube, operator: Operator) -> None:
        """Begin; whoever waits is told at once if the operator ends, since then nothing happens any more."""
        self.reached: dict[str, dict[str, float]] = defaultdict(dict)
        self._kube, self._operator = kube, operator
        threading.Thread(target=self._follow, daemon=True).start()

    def wait(self, phase: str, names: Collection[str], seconds: float) -> None:
        """Wait until all those jobs were in a phase.

        Raises:
            AssertionError: they were not in time, or the operator has ended.
        """
        self.wait_until(lambda: self.reached[phase].keys() >= set(names), f"{phase} of {len(names)}", seconds)

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + seconds
        while not true():
            self._operator.assert_lives()
            assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
            time.sleep(0.05)

    def _follow(self) -> None:
        while True:
            with contextlib.suppress(urllib3.exceptions.HTTPError):  # at the end nobody answers any more
                for _, job in watch(self._kube, _JOBS):
                    self._take(job)
            time.sleep(0.2)

    def _take(self, job: Object) -> None:
        phase = job.get("status", {}).get("phase")
        if phase:
            self.reached[phase].setdefault(job["metadata"]["name"], time.monotonic())
