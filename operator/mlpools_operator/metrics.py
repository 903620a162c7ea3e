"""What Prometheus reads: how the loop does, and what the pools hold.

No label grows with the number of users' objects: a pool, and the namespaces that used it, are the most that
a series names. Gauges about objects are read from memory at the moment of the scrape. What happened in pools
is counted in ``pool_metrics``, which forgets a pool that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mlpools_operator.pool_metrics import PoolMetrics

#: Of one figure, at the moment of the scrape.
Read = Callable[[], float]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """How one pool stands now.

    Attributes:
        nodes: by ``max``, ``wanted``, ``held``, ``idle``.
        jobs: by ``queued``, ``starting``, ``running``.
        notebooks: by the same.
        longest_wait: seconds for which the first of its queue, by time, has waited.
        conditions: of its status, and whether they hold.
    """

    nodes: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)
    notebooks: Mapping[str, int] = field(default_factory=dict)
    longest_wait: float = 0.0
    conditions: Mapping[str, bool] = field(default_factory=dict)


class Metrics:
    """All metrics of one operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pools = PoolMetrics()
        self.registry.register(self.pools)
        self.passes = Counter(
            "mlpools_passes",
            "Reconciliation passes by kind and how they ended",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self.pass_seconds = Histogram(
            "mlpools_pass_seconds", "Time that one pass took", ["kind"], registry=self.registry
        )
        self.api_requests = Counter(
            "mlpools_api_requests",
            "Requests to the API server by code, 0 without an answer (watches are not among them)",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "mlpools_api_seconds", "Time that one request took", ["verb"], registry=self.registry
        )
        self.job_delay = Histogram(
            "mlpools_job_creation_seconds",
            "From a job's creation to that of its first attempt's Job",
            buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600, 3600),
            registry=self.registry,
        )
        self.probes = Counter(
            "mlpools_probes",
            "Reads of jobs' progress by outcome",
            ["outcome"],
            registry=self.registry,
        )
        self.swept = Counter(
            "mlpools_swept_objects",
            "Objects that a sweep found gone without a watch event having said so",
            ["kind"],
            registry=self.registry,
        )

    def process(
        self,
        *,
        leader: Read,
        queue_depth: Read,
        workers_busy: Read,
        pass_age: Read,
        watch_age: Read,
    ) -> None:
        """Add the gauges about the process, which are read at each scrape."""
        for name, text, read in (
            ("mlpools_leader", "1 for the one that decides and writes, 0 for a standby", leader),
            ("mlpools_queue_depth", "Keys that wait for a worker", queue_depth),
            ("mlpools_workers_busy", "Keys that are worked on", workers_busy),
            ("mlpools_pass_age_seconds", "Since the last pass while work waits", pass_age),
            ("mlpools_watch_age_seconds", "Since the most silent watch's last byte", watch_age),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)

    def objects(
        self,
        pools: Callable[[], Mapping[str, PoolFigures]],
        remembered: Callable[[], Mapping[str, int]],
    ) -> None:
        """Add the gauges about objects.

        Args:
            pools: figures by pool.
            remembered: number of objects in memory by kind.
        """
        self.registry.register(_Objects(pools, remembered))

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Objects(Collector):
    def __init__(
        self,
        pools: Callable[[], Mapping[str, PoolFigures]],
        remembered: Callable[[], Mapping[str, int]],
    ) -> None:
        self._pools, self._remembered = pools, remembered

    def collect(self) -> Iterable[Metric]:
        nodes = GaugeMetricFamily("mlpools_pool_nodes", "Nodes of a pool", labels=["pool", "what"])
        jobs = GaugeMetricFamily("mlpools_pool_jobs", "Unfinished jobs of a pool", labels=["pool", "state"])
        notebooks = GaugeMetricFamily(
            "mlpools_pool_notebooks", "Notebooks of a pool that do not rest", labels=["pool", "state"]
        )
        wait = GaugeMetricFamily(
            "mlpools_pool_longest_wait_seconds",
            "For how long the job that waits for longest in a pool's queue has waited by now",
            labels=["pool"],
        )
        conditions = GaugeMetricFamily(
            "mlpools_pool_condition",
            "1 for a condition of a pool that holds, 0 for one that does not",
            labels=["pool", "condition"],
        )
        for pool, figures in sorted(self._pools().items()):
            wait.add_metric([pool], figures.longest_wait)
            counted = ((nodes, figures.nodes), (jobs, figures.jobs), (notebooks, figures.notebooks))
            for family, values in counted:
                for label, number in values.items():
                    family.add_metric([pool, label], number)
            for name, holds in figures.conditions.items():
                conditions.add_metric([pool, name], holds)
        objects = GaugeMetricFamily("mlpools_objects", "Objects remembered", labels=["kind"])
        for kind, number in sorted(self._remembered().items()):
            objects.add_metric([kind], number)
        return (nodes, jobs, notebooks, wait, conditions, objects)

    def describe(self) -> Iterable[Metric]:
        return ()
