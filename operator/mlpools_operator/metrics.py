"""What Prometheus reads: how the loop does, and what the pools hold.

No label grows with the number of users' objects: gauges about objects carry the pool at most, and are
read from memory at the moment of the scrape, so that nothing stays behind when an object is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """What one pool holds now.

    Attributes:
        nodes: by ``max``, ``held``.
        jobs: by ``queued``, ``admitted``.
    """

    nodes: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)


class Metrics:
    """All metrics of one operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
            "Requests to the API server (watches are not among them)",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "mlpools_api_seconds", "Time that one request took", ["verb"], registry=self.registry
        )
        self.admission_wait = Histogram(
            "mlpools_admission_wait_seconds",
            "From a job's creation to its first admission",
            buckets=(1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
            registry=self.registry,
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

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read at each scrape."""
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
        for pool, figures in sorted(self._pools().items()):
            for what, number in figures.nodes.items():
                nodes.add_metric([pool, what], number)
            for state, number in figures.jobs.items():
                jobs.add_metric([pool, state], number)
        objects = GaugeMetricFamily("mlpools_objects", "Objects remembered", labels=["kind"])
        for kind, number in sorted(self._remembered().items()):
            objects.add_metric([kind], number)
        return (nodes, jobs, objects)

    def describe(self) -> Iterable[Metric]:
        return ()
