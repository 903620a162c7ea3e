"""Progress: asks rank 0 of every running job how far it is.

A read that fails changes nothing: whether a pod lives is told by Kubernetes, never by this. What comes from a
pod is a stranger's text: it is bounded, checked, and stripped of what a status could not hold.
"""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import aiohttp

from mlpools.contract.reports import Report
from mlpools.contract.wiring import STATUS_PORT
from mlpools.document import ContractError
from mlpools_operator.controller import asking
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Key, Store
from mlpools_operator.controller.unheard import UnheardJobs
from mlpools_operator.domain import naming
from mlpools_operator.domain.kinds import JOB_KINDS
from mlpools_operator.domain.observed import PodChild, Resource, Unheard
from mlpools_operator.metrics import Metrics

_AT_ONCE = 32
#: Reads in a second, on average: with more jobs each is asked less often. A job's progress is written every
#: ten seconds at most, which a thousand jobs still get; beyond, what starts and ends needs the processor.
_A_SECOND = 100.0
#: A pod that answered so late that it was not waited for is left alone, longer each time: were many of them
#: asked in every round, the rounds would take longer for all.
_SILENT_SECONDS, _LONGEST_SILENCE = 4.0, 60.0
_METRICS_KEPT = 16
_MESSAGE_KEPT = 512
_NUMBERS = (
    "rank",
    "attempt",
    "step",
    "total_steps",
    "rows_per_second",
    "checkpoint_step",
    "age_seconds",
    "memory_bytes",
    "memory_rank",
    "slow_times",
    "slow_rank",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A pod to ask.

    Attributes:
        uid: of the job.
        attempt: that the pod belongs to.
    """

    key: Key
    uid: str
    attempt: int
    address: str


@dataclass(frozen=True, slots=True)
class _Silence:
    """A pod that is not asked for a while.

    Attributes:
        seconds: how long this while is.
        until: when it ends, in seconds since the epoch.
    """

    seconds: float
    until: float


class Probe:
    """Reads the reports of running jobs and hands changed ones to the reconciler."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        metrics: Metrics,
        *,
        progress_seconds: float,
        clock: Callable[[], float],
        port: int = STATUS_PORT,
    ) -> None:
        """Watch over running jobs.

        Args:
            store: what is known of the world.
            queue: where a job with a new report goes.
            metrics: counts reads.
            progress_seconds: a job's report is handed on no more often; the first one at once.
            clock: seconds since the epoch.
            port: where pods answer.
        """
        self._store, self._queue, self._metrics = store, queue, metrics
        self._progress_seconds, self._clock, self._port = progress_seconds, clock, port
        self._handed: dict[str, tuple[float, Report]] = {}
        self._silent: dict[str, _Silence] = {}
        self._unheard = UnheardJobs(clock)

    def report(self, uid: str) -> Report | None:
        """Return the newest report about a job that was handed on."""
        handed = self._handed.get(uid)
        return handed[1] if handed else None

    def unheard(self, uid: str) -> Unheard | None:
        """Return why no report about a job's present attempt comes, once that is sure."""
        return self._unheard.why(uid)

    async def run(self, seconds: float) -> None:
        """Ask everybody every so many seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        async with asking.session() as session:
            while True:
                started = loop.time()
                asked = await self.round(session)
                await asyncio.sleep(max(0.0, started + interval(seconds, asked) - loop.time()))

    async def round(self, session: aiohttp.ClientSession) -> int:
        """Ask every running job once, a bounded number at a time; return how many were asked."""
        targets = list(self._targets())
        gate = asyncio.Semaphore(_AT_ONCE)

        async def ask(target: Target) -> None:
            async with gate:
                self._take(target, await self._read(session, target))

        now = self._clock()
        due = [it for it in targets if it.uid not in self._silent or self._silent[it.uid].until <= now]
        await asyncio.gather(*(ask(target) for target in due))
        self._handed = {uid: it for uid, it in self._handed.items() if self._may_be_asked_for(uid)}
        running = {target.uid for target in targets}
        self._silent = {uid: silence for uid, silence in self._silent.items() if uid in running}
        self._unheard.keep(running)
        return len(due)

    def _targets(self) -> Iterator[Target]:
        for _, pod in self._store.all("Pod"):
            if not isinstance(pod, PodChild) or pod.rank != 0 or pod.phase != "Running" or not pod.ip:
                continue
            labels = pod.meta.labels
            kind, uid = labels.get(naming.KIND, ""), labels.get(naming.JOB_UID, "")
            job = self._store.find(kind, uid)
            if kind in JOB_KINDS and isinstance(job, Resource) and not pod.meta.deleting:
                yield Target(Key(kind, job.meta.namespace, job.meta.name), uid, pod.attempt, pod.ip)

    def _may_be_asked_for(self, uid: str) -> bool:
        """Whether a job has not ended: why an attempt failed may be told by the last report before."""
        jobs = (self._store.find(kind, uid) for kind in JOB_KINDS)
        return any(isinstance(job, Resource) and not job.status.get("completionTime") for job in jobs)

    async def _read(self, session: aiohttp.ClientSession, target: Target) -> Report | Unheard | None:
        try:
            report = checked(Report.from_json(await asking.status(session, target.address, self._port)))
        except TimeoutError:
            self._metrics.probes.labels("unanswered").inc()
            before = self._silent.get(target.uid)
            seconds = min(before.seconds * 2, _LONGEST_SILENCE) if before else _SILENT_SECONDS
            self._silent[target.uid] = _Silence(seconds, self._clock() + seconds)
            return Unheard.SILENT
        except (aiohttp.ClientError, OSError) as error:
            self._metrics.probes.labels("unanswered").inc()
            refused = isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
            return Unheard.REFUSED if refused else Unheard.SILENT
        except (ContractError, ValueError):
            self._metrics.probes.labels("unreadable").inc()
            return Unheard.UNREADABLE
        self._silent.pop(target.uid, None)
        self._metrics.probes.labels("read").inc()
        return report if report.attempt == target.attempt else None

    def _take(self, target: Target, report: Report | Unheard | None) -> None:
        if report is None:
            return
        before = self._handed.get(target.uid)
        if isinstance(report, Unheard):
            heard = before is not None and before[1].attempt == target.attempt
            if not heard and self._unheard.missed(target.uid, target.attempt, report):
                self._queue.add(target.key)
            return
        self._unheard.heard(target.uid)
        now = self._clock()
        if before is not None:
            at, known = before
            if now - at < self._progress_seconds or _same(known, report):
                newest = replace(known, memory_bytes=report.memory_bytes, memory_rank=report.memory_rank)
                self._handed[target.uid] = (at, newest)
                return
        self._handed[target.uid] = (now, report)
        self._queue.add(target.key)


def interval(seconds: float, asked: int) -> float:
    """Return the seconds from one round to the next: as it was set, longer after one that asked many."""
    return max(seconds, asked / _A_SECOND)


def checked(report: Report) -> Report:
    """Return the report with what a status can hold.

    Raises:
        ValueError: a field has a wrong type, or is no finite number.
    """
    eta = report.eta_seconds
    for name, value in [*((name, getattr(report, name)) for name in _NUMBERS), ("eta_seconds", eta or 0)]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name} is not a number")
    if not isinstance(report.phase, str) or not isinstance(report.message, str):
        raise ValueError("phase and message are texts")
    if not isinstance(report.metrics, dict):
        raise ValueError("metrics is not an object")
    metrics = {
        str(name)[:64]: float(value)
        for name, value in report.metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    return replace(
        report,
        metrics=dict(list(metrics.items())[:_METRICS_KEPT]),
        message=report.message[:_MESSAGE_KEPT],
        seconds={},
    )


def _same(one: Report, other: Report) -> bool:
    """Whether two reports say the same of how far a job is."""
    return _lasting(one) == _lasting(other)


def _lasting(report: Report) -> Report:
    return replace(report, age_seconds=0.0, eta_seconds=None, memory_bytes=0, memory_rank=0)
