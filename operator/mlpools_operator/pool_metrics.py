"""What happened in each pool, counted once, when the status that says it is stored.

A job may name any pool, so only those that exist are labels; what happens to others has an empty one. A pool
that is gone leaves no series behind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from mlpools_operator.domain.job.transitions import (
    Admitted,
    Finished,
    Predicted,
    Preempted,
    Restarted,
    Rested,
    Spent,
    Switched,
    Transition,
)

#: From a job that is served at once to one that trains for a week.
_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600)


class PoolMetrics(Collector):
    """The counters and durations of all pools.

    Attributes:
        there: names of the pools that exist.
    """

    def __init__(self) -> None:
        self.there: Callable[[], Collection[str]] = tuple
        self._admissions = Counter(
            "mlpools_admissions", "Attempts that got their nodes", ["pool"], registry=None
        )
        self._stages = Histogram(
            "mlpools_job_phase_seconds",
            "Time that an attempt spent queued (back-off included), starting and running, when it left there",
            ["pool", "phase"],
            buckets=_SECONDS,
            registry=None,
        )
        self._restarts = Counter(
            "mlpools_job_restarts",
            "Attempts that another one follows, by what ended them",
            ["pool", "reason"],
            registry=None,
        )
        self._preemptions = Counter(
            "mlpools_preemptions",
            "Attempts told to give their nodes to a job of higher priority",
            ["pool"],
            registry=None,
        )
        self._finished = Counter(
            "mlpools_jobs_finished",
            "Jobs that ended, by phase and reason",
            ["pool", "phase", "reason"],
            registry=None,
        )
        self._rests = Counter(
            "mlpools_notebook_stops", "Notebooks told to stop, by reason", ["pool", "reason"], registry=None
        )
        self._rows = Counter(
            "mlpools_inference_rows", "Rows that batch inferences predicted for", ["pool"], registry=None
        )
        self._shards = Counter(
            "mlpools_inference_shards",
            "Shards of batch inferences that were written or given up",
            ["pool", "outcome"],
            registry=None,
        )
        self._switches = Counter(
            "mlpools_pool_switches",
            "Times that a pool fell asleep or woke",
            ["pool", "to"],
            registry=None,
        )
        self._node_seconds = Counter(
            "mlpools_node_seconds",
            "Node seconds used by a namespace, as its account with the pool has them",
            ["pool", "namespace"],
            registry=None,
        )
        self._usage_writes = Counter(
            "mlpools_usage_writes",
            "Tries to write down a pool's use by outcome",
            ["pool", "outcome"],
            registry=None,
        )

    def count(self, pool: str, transitions: Iterable[Transition]) -> None:
        """Count what a stored status tells of a pool, or of a job that named it."""
        pool = self._label(pool)
        for transition in transitions:
            match transition:
                case Admitted():
                    self._admissions.labels(pool).inc()
                case Spent(stage, seconds):
                    self._stages.labels(pool, stage).observe(seconds)
                case Restarted(reason):
                    self._restarts.labels(pool, reason).inc()
                case Preempted():
                    self._preemptions.labels(pool).inc()
                case Finished(phase, reason):
                    self._finished.labels(pool, phase, reason).inc()
                case Rested(reason):
                    self._rests.labels(pool, reason).inc()
                case Predicted(rows, done, failed):
                    self._rows.labels(pool).inc(rows)
                    self._shards.labels(pool, "done").inc(done)
                    self._shards.labels(pool, "failed").inc(failed)
                case Switched(asleep):
                    self._switches.labels(pool, "asleep" if asleep else "awake").inc()

    def used(self, pool: str, node_seconds: Mapping[str, int]) -> None:
        """Count a pool's use by namespace, which was just written down."""
        for namespace, seconds in node_seconds.items():
            self._node_seconds.labels(self._label(pool), namespace).inc(seconds)

    def usage_written(self, pool: str, outcome: str) -> None:
        """Count a try to write down a pool's use: ``written`` or ``failed``."""
        self._usage_writes.labels(self._label(pool), outcome).inc()

    def collect(self) -> Iterable[Metric]:
        """Forget pools that are gone, then give what was counted."""
        for metric in self._all:
            for pool in self._pools_of(metric).difference(self.there(), ("",)):
                metric.remove_by_labels({"pool": pool})
            yield from metric.collect()

    def describe(self) -> Iterable[Metric]:
        """Name what there may be."""
        for metric in self._all:
            yield from metric.describe()

    @property
    def _all(self) -> tuple[Counter | Histogram, ...]:
        return (
            self._admissions,
            self._stages,
            self._restarts,
            self._preemptions,
            self._finished,
            self._rests,
            self._rows,
            self._shards,
            self._switches,
            self._node_seconds,
            self._usage_writes,
        )

    def _label(self, pool: str) -> str:
        return pool if pool in self.there() else ""

    @staticmethod
    def _pools_of(metric: Counter | Histogram) -> set[str]:
        return {sample.labels["pool"] for family in metric.collect() for sample in family.samples}
