"""The operator's program: reads settings, puts the parts together, runs them until told to stop."""

from __future__ import annotations

import asyncio
import functools
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

from mlpools_operator import logs
from mlpools_operator import settings as settings_module
from mlpools_operator.cluster import connect, errors
from mlpools_operator.cluster.connect import ConnectError
from mlpools_operator.cluster.leases import Leases
from mlpools_operator.cluster.objects import Cluster
from mlpools_operator.cluster.scope import Scope
from mlpools_operator.cluster.transport import Transport
from mlpools_operator.controller import addresses, figures
from mlpools_operator.controller.addresses import Addresses
from mlpools_operator.controller.execute import Executor
from mlpools_operator.controller.feed import Feed
from mlpools_operator.controller.health import Health, keep_asking
from mlpools_operator.controller.leader import Candidate as LeaderCandidate
from mlpools_operator.controller.leader import Leadership, LeadershipLostError, Unopposed
from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.looks import Looks
from mlpools_operator.controller.namespaces import NamespaceReader
from mlpools_operator.controller.notebooks import NotebookPolicy, Notebooks
from mlpools_operator.controller.obstacles import MissingPods, Obstacles, Volumes
from mlpools_operator.controller.probe import Probe
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.reconcile import JobPolicy, Policies, Reconciler
from mlpools_operator.controller.serve import PortError, serving
from mlpools_operator.controller.store import Family, Store
from mlpools_operator.controller.sweep import Sweeper
from mlpools_operator.controller.usage import Usage
from mlpools_operator.controller.workers import Workers
from mlpools_operator.domain.computepool import pool
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.job import asking, lifecycle
from mlpools_operator.domain.job.kind import AnyKind
from mlpools_operator.domain.kinds import JOB_KINDS
from mlpools_operator.domain.notebook import asking as notebook_asking
from mlpools_operator.domain.notebook import lifecycle as notebook_lifecycle
from mlpools_operator.domain.notebook import outward
from mlpools_operator.domain.notebook.children import KIND as NOTEBOOK
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.domain.queue import admission
from mlpools_operator.metrics import Metrics, PoolFigures
from mlpools_operator.settings import Settings, SettingsError
from mlpools_operator.watch.run import watching
from mlpools_operator.watch.session import Listener

#: Requests beside the workers' own: sweeps and the heartbeat.
_SPARE_THREADS = 4
_CRD_SECONDS = 2.0
#: For what was used since the last write, before another operator leads.
_LAST_USE_SECONDS = 3.0
#: As of the chart's other objects, whose names are fixed too.
LEASE = "mlpools-operator"
#: Exit code of a process that may not lead any more.
LOST = 3


def policies(settings: Settings) -> Policies:
    """Return the decisions that this operator makes."""
    defaults = Defaults(
        runtime_image=settings.runtime_image,
        runtime_full_image=settings.runtime_full_image,
        operator_namespace=settings.operator_namespace,
        operator_labels=settings.operator_labels,
        cluster_domain=settings.cluster_domain,
        image_pull_policy=settings.image_pull_policy,
        families=settings.instance_families,
        notebooks_domain=settings.notebooks_domain,
        ingress_annotations=settings.ingress_annotations,
    )
    return Policies(
        decide=functools.partial(admission.decide, catalogue=defaults.families),
        pool=functools.partial(pool.plan, defaults=defaults),
        jobs={name: _job_policy(kind, defaults) for name, kind in JOB_KINDS.items()},
        notebook=_notebook_policy(defaults),
    )


def _job_policy(kind: AnyKind, defaults: Defaults) -> JobPolicy:
    def candidate(job: Resource, family: Family, now: float) -> Candidate | None:
        return asking.candidate(kind, job, family.jobs, family.pods, now)

    return JobPolicy(candidate, functools.partial(lifecycle.plan, kind, defaults=defaults))


def _notebook_policy(defaults: Defaults) -> NotebookPolicy:
    def candidate(notebook: Resource, family: Family, now: float) -> Candidate | None:
        return notebook_asking.candidate(notebook, family.jobs, family.pods, now, defaults)

    names = functools.partial(outward.names, defaults=defaults)
    return NotebookPolicy(candidate, names, functools.partial(notebook_lifecycle.plan, defaults=defaults))


class Operator:
    """All parts of the program, connected."""

    def __init__(self, settings: Settings) -> None:
        """Connect to the cluster and put the parts together; nothing runs yet.

        Raises:
            ConnectError: there is no cluster to connect to.
        """
        self.settings, self.metrics = settings, Metrics()
        chosen = policies(settings)
        self.lease_transport = Transport(self.metrics, threads=1, read_seconds=connect.WRITE_SECONDS)
        self.leadership = self._leadership()
        self.transport = Transport(
            self.metrics,
            threads=settings.workers + _SPARE_THREADS,
            may_write=self.leadership.may_write,
        )
        self.cluster = Cluster(self.transport)
        self.store, self.queue = Store(), Queue()
        candidates = {kind: job.candidate for kind, job in chosen.jobs.items()}
        candidates[NOTEBOOK] = chosen.notebook.candidate
        self.ledger = Ledger(self.store, candidates, time.time)
        self.feed = Feed(self.store, self.ledger, self.queue)
        self.health = Health(
            waiting=lambda: len(self.queue) + self.queue.busy, last_answer=lambda: self.transport.last_answer
        )
        self.scope = Scope(settings.namespaces, settings.operator_namespace)
        self.sweeper = Sweeper(self.cluster, self.store, self.feed, self.metrics, self.scope)
        self.namespaces = NamespaceReader(self.cluster, self.store, self.feed, settings.namespaces)
        self.usage = Usage(
            self.cluster, self.ledger.candidates, settings.operator_namespace, self.metrics.pools, time.time
        )
        self.probe = Probe(
            self.store,
            self.queue,
            self.metrics,
            progress_seconds=settings.progress_seconds,
            clock=time.time,
        )
        self.looks = Looks(self.store, self.queue, self.metrics, time.time)
        self.addresses = Addresses(
            self.store,
            self.queue,
            time.time,
            api_server=self.cluster.api_server,
            nameservers=addresses.nameservers(),
        )
        obstacles, missing_pods = Obstacles(), MissingPods(self.cluster, time.time)
        executor = Executor(self.cluster, self.store, self.feed, obstacles, self.metrics, time.time)
        reconciler = Reconciler(
            policies=chosen,
            store=self.store,
            ledger=self.ledger,
            usage=self.usage,
            queue=self.queue,
            executor=executor,
            obstacles=obstacles,
            missing_pods=missing_pods,
            reports=self.probe,
            notebooks=Notebooks(
                policy=chosen.notebook,
                store=self.store,
                ledger=self.ledger,
                executor=executor,
                obstacles=obstacles,
                missing_pods=missing_pods,
                volumes=Volumes(self.cluster, time.time),
                looks=self.looks,
                addresses=self.addresses,
                clock=time.time,
            ),
            clock=time.time,
        )
        self.workers = Workers(self.queue, reconciler.pass_over, self.health, self.metrics)
        self._add_gauges()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            LeadershipLostError: another process may lead by now.
            Exception: a part ended that must not end.
        """
        stopped = asyncio.Event()
        _on_signal(stopped.set)
        try:
            async with serving(self.settings.http_port, self.health, self.metrics) as port:
                logs.logger().info("Serving health and metrics on port %d.", port)
                await _first(stopped.wait(), self.leadership.run(), self._watch_and_work(stopped))
        finally:
            if self.leadership.may_write():
                await self.usage.flush(_LAST_USE_SECONDS)
            self.transport.close()  # waits for writes under way, before others may write
            await self.leadership.release()
            self.lease_transport.close()
        logs.logger().info("Stopped.")

    async def _watch_and_work(self, stopped: asyncio.Event) -> None:
        await self._kinds_exist()
        listener = Listener(heard=self.health.heard, listed=self._listed)
        async with watching(self.feed, listener, self.scope.watches()) as watch:
            _on_signal(stopped.set)  # kopf took them
            await _first(asyncio.shield(watch), self._work())

    async def _work(self) -> None:
        led = self.leadership.may_write()
        await self.sweeper.first_sync()
        await self.namespaces.look()
        self.health.synced()
        logs.logger().info("Knew all existing objects; %d keys to look at.", len(self.queue))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sweeper.run(self.settings.sweep_seconds))
            group.create_task(self.namespaces.run(self.settings.namespace_seconds))
            group.create_task(keep_asking(self.cluster))
            await self.leadership.elected()
            if not led:  # the last writes of whoever led before may have been missed
                await self.sweeper.catch_up()
                await self.namespaces.look()
            self.health.leads()
            group.create_task(self.workers.run(self.settings.workers))
            group.create_task(self.usage.run(self.settings.usage_seconds, self._pool_names))
            group.create_task(self.probe.run(self.settings.probe_seconds))
            group.create_task(self.looks.run(self.settings.look_seconds))
            group.create_task(self.addresses.run(self.settings.look_seconds))

    async def _kinds_exist(self) -> None:
        """Wait for the CRDs: they may be applied together with the operator."""
        while True:
            try:
                unknown = await self.cluster.unknown_kinds()
                if not unknown:
                    return
                logs.logger().warning("Waited for the CRDs of %s.", ", ".join(sorted(unknown)))
            except errors.ClusterError as error:
                logs.logger().warning("The API server could not be asked: %s", error)
            await asyncio.sleep(_CRD_SECONDS)

    def _listed(self, path: str) -> None:
        kind = self._collections.get(path)
        if kind is not None:
            self.sweeper.gap(kind)

    @functools.cached_property
    def _collections(self) -> dict[str, str]:
        return {
            info.path(place): kind
            for kind, info in self.scope.kinds.items()
            for place in self.scope.namespaces(kind)
        }

    def _leadership(self) -> Leadership:
        if not self.settings.leader_election:
            return Unopposed()
        leases = Leases(self.lease_transport, self.settings.operator_namespace, LEASE)
        identity = self.settings.identity or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        return LeaderCandidate(leases, identity)

    def _add_gauges(self) -> None:
        self.metrics.process(
            leader=self._leads,
            queue_depth=lambda: len(self.queue),
            workers_busy=lambda: self.queue.busy,
            pass_age=lambda: self.health.pass_age,
            watch_age=lambda: self.health.watch_age,
        )
        self.metrics.objects(self._pool_figures, self.store.sizes)
        self.metrics.pools.there = self._pool_names

    def _pool_names(self) -> Collection[str]:
        return figures.names(self.store)

    def _leads(self) -> float:
        return float(self.leadership.may_write())

    def _pool_figures(self) -> Mapping[str, PoolFigures]:
        """Return what the pools hold; nothing from a standby, or sums would count it twice."""
        return figures.figures(self.store, self.ledger, time.time()) if self._leads() else {}


async def _first(*parts: Awaitable[object]) -> None:
    """Run until one part ends, then cancel the others; raise what it raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


def _on_signal(handler: Callable[[], None]) -> None:
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, handler)


def main() -> int:
    """Run the operator; return the exit code."""
    try:
        settings = settings_module.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(Operator(settings).run())
    except (ConnectError, PortError) as error:
        logs.logger().error("%s", error)
        return 1
    except LeadershipLostError as lost:
        logs.logger().error("%s", lost)
        return LOST
    except Exception:
        logs.logger().exception("The operator failed.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
