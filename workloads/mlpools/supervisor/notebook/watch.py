"""Whether a notebook is used: what counts, and since when nothing has.

Used by what runs: a kernel that runs a cell, a terminal with a program in it, processes that compute, a GPU
that works, data that comes or goes, a job of its Ray cluster. Used by a person: input to a terminal, a cell
that was run, a document that was changed, and where the program is not Jupyter, data from the browser. Pings
and polling are far below the bounds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from mlpools.supervisor.notebook.jupyter import Account
from mlpools.supervisor.notebook.processes import Snapshot
from mlpools.supervisor.notebook.sockets import Connection

SAMPLE_SECONDS = 5.0
#: CPU and data are counted over so long: shorter, and a tab that polls every ten seconds would be a peak.
_WINDOW_SECONDS = 30.0
#: Bytes in a window from where on something is transferred.
_TRANSFER_BYTES = 100_000
#: Bytes in a window from a browser to a program that is not Jupyter; a WebSocket's ping has six.
_INPUT_BYTES = 2_000


class Cluster(NamedTuple):
    """The notebook's Ray cluster.

    Attributes:
        busy: a task or a submitted job runs.
        nodes: addresses of its nodes, with which Ray's own processes talk all the time.
    """

    busy: bool = False
    nodes: Collection[str] = ()


class Sources(NamedTuple):
    """Where a watch looks; tests put others.

    Attributes:
        processes: of the container.
        connections: of the container; may raise OSError.
        gpu: load in percent, None where nobody can see one.
        jupyter: its own account; None for another program. May raise OSError and ValueError.
        monotonic: seconds that never go back.
        wall: seconds since the epoch.
        cluster: as its head sees it.
    """

    processes: Callable[[], Snapshot]
    connections: Callable[[], Sequence[Connection]]
    gpu: Callable[[], int | None]
    jupyter: Callable[[], Account] | None = None
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    cluster: Callable[[], Cluster] = Cluster


class Used(NamedTuple):
    """Since when a notebook has not been used.

    Attributes:
        unused_seconds: since anything used it.
        untouched_seconds: since a person did.
        by: what used it last.
    """

    unused_seconds: float
    untouched_seconds: float
    by: str


class _Sample(NamedTuple):
    at: float
    cpu_seconds: float
    carried: dict[int, int]
    received: dict[int, int]


class Watch:
    """Remembers when the notebook was used last; ``look`` is safe to call from any thread."""

    def __init__(self, sources: Sources, port: int, own_ports: Sequence[int], cpu: int, gpu: int) -> None:
        """Begin to watch: a start is use.

        Args:
            sources: where it looks.
            port: at which the notebook serves.
            own_ports: whose connections are ours, such as the status port.
            cpu: percent of one core from which on processes count.
            gpu: percent from which on a GPU counts.
        """
        self._sources, self._port, self._own_ports = sources, port, frozenset(own_ports)
        self._cpu, self._gpu = cpu / 100, gpu
        self._lock = threading.Lock()
        self._samples: deque[_Sample] = deque()
        self._used = self._touched = sources.monotonic()
        self._by = "its start"

    def look(self) -> Used:
        """Look now, and say for how long nothing has used it."""
        with self._lock:
            now = self._sources.monotonic()
            processes = self._sources.processes()
            cluster = self._sources.cluster()
            sample = self._sample(now, processes, cluster.nodes)
            # In the order of what a person would name first.
            for by in (*self._by_load(sample), *self._by_jupyter(now)):
                self._used, self._by = now, by
            if cluster.busy:
                self._used, self._by = now, "a Ray job"
            if processes.terminals:
                self._used, self._by = now, "a program in a terminal"
            self._samples.append(sample)
            while len(self._samples) > 1 and now - self._samples[1].at >= _WINDOW_SECONDS:
                self._samples.popleft()
            return Used(now - self._used, now - self._touched, self._by)

    def _sample(self, now: float, processes: Snapshot, nodes: Collection[str]) -> _Sample:
        try:
            found = self._sources.connections()
        except OSError:
            found = ()
        mine = [it for it in found if it.port in self._own_ports]
        others = [it for it in found if it.port != self._port and it not in mine and not it.local]
        others = [it for it in others if it.peer not in nodes]
        return _Sample(
            now,
            processes.seconds,
            {it.inode: it.sent + it.received for it in others},
            {it.inode: it.received for it in found if it.port == self._port},
        )

    def _by_load(self, sample: _Sample) -> list[str]:
        """Return what computed or carried data since the beginning of the window."""
        if not self._samples:
            return []
        before, found = self._samples[0], []
        passed = max(sample.at - before.at, 1e-3)
        if sample.cpu_seconds - before.cpu_seconds >= self._cpu * max(passed, SAMPLE_SECONDS):
            found.append("processes that compute")
        load = self._sources.gpu()
        if load is not None and load >= self._gpu:
            found.append("a GPU that works")
        if _grown(before.carried, sample.carried) >= _TRANSFER_BYTES:
            found.append("a transfer")
        if self._sources.jupyter is None and _grown(before.received, sample.received) >= _INPUT_BYTES:
            self._touched = sample.at
            found.append("data from the browser")
        return found

    def _by_jupyter(self, now: float) -> list[str]:
        if self._sources.jupyter is None:
            return []
        try:
            account = self._sources.jupyter()
        except (OSError, ValueError):
            return []
        last = max(account.used, account.edited)
        touched = now - max(0.0, self._sources.wall() - last) if last else 0.0
        if touched > self._touched:
            self._touched = touched
        if touched > self._used:
            self._used, self._by = touched, "a person or a kernel"
        return ["a busy kernel"] if account.busy else []


def _grown(before: dict[int, int], after: dict[int, int]) -> int:
    """Return how many bytes connections have carried since; those of a new one all count."""
    return sum(count - before.get(inode, 0) for inode, count in after.items())
