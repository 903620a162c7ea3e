"""The operator's whole loop in this process over the simulated cluster: real workers, no network."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from mlpools.contract.reports import Report
from mlpools_operator.__main__ import policies
from mlpools_operator.cluster.objects import NEVER, Cluster
from mlpools_operator.controller.addresses import Addresses
from mlpools_operator.controller.execute import Executor
from mlpools_operator.controller.feed import Feed
from mlpools_operator.controller.health import Health
from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.notebooks import Notebooks
from mlpools_operator.controller.obstacles import MissingPods, Obstacles, Volumes
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.reconcile import Reconciler
from mlpools_operator.controller.store import Key, Store
from mlpools_operator.controller.usage import Usage
from mlpools_operator.controller.workers import Workers
from mlpools_operator.domain.kinds import JOB_KINDS
from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.observed import Meta, Told, Unheard
from mlpools_operator.domain.plan import Delete, Event, Object, Scale
from mlpools_operator.metrics import Metrics
from mlpools_operator.settings import Settings
from tests.support.world import World

KINDS = ("ComputePool", *JOB_KINDS, "Job", "Pod", "Service", "NetworkPolicy")
T = TypeVar("T")


class SlowCluster(Cluster):
    """The simulated API server behind a network: every request takes a few turns of the event loop.

    Attributes:
        writes: number of requests by verb and kind.
    """

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world, self._dice = world, dice
        self.writes: Counter[tuple[str, str]] = Counter()

    async def apply(self, manifest: Object, *, resource_version: str = NEVER) -> Object:
        return await self._soon(
            "apply", manifest["kind"], lambda: self.world.apply(manifest, resource_version)
        )

    async def create(self, manifest: Object) -> Object:
        return await self._soon("create", manifest["kind"], lambda: self.world.create(manifest))

    async def scale(self, target: Scale) -> Object:
        place = (target.namespace, target.name, target.uid, target.pods)
        return await self._soon("scale", "Job", lambda: self.world.scale(*place))

    async def delete(self, target: Delete) -> Object:
        place = (target.kind, target.namespace, target.name)
        await self._soon("delete", target.kind, lambda: self.world.delete(*place, target.uid))
        return {"kind": "Status"}

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        return await self._soon("get", kind, lambda: self.world.get(kind, namespace, name))

    async def config_map(self, namespace: str, name: str) -> Object:
        return await self._soon("get", "ConfigMap", lambda: self.world.get("ConfigMap", namespace, name))

    async def replace_status(self, kind: str, meta: Meta, status: Any) -> Object:
        place = (kind, meta.namespace, meta.name)
        return await self._soon(
            "status", kind, lambda: self.world.replace_status(*place, status, meta.resource_version)
        )

    async def record(self, kind: str, meta: Meta, event: Event, now: float) -> None:
        await self._soon("event", kind, lambda: None)

    async def refusals(self, namespace: str, job_uid: str) -> list[str]:
        return []

    async def events(self, about: Meta) -> list[Told]:
        return []

    async def _soon(self, verb: str, kind: str, act: Callable[[], T]) -> T:
        self.writes[verb, kind] += 1
        await self._turns()
        try:
            return act()
        finally:
            await self._turns()

    async def _turns(self) -> None:
        for _ in range(self._dice.randint(0, 4)):
            await asyncio.sleep(0)


class NoLooks:
    def newest(self, uid: str) -> Look | None:
        return None

    async def look_first(self, uid: str) -> None:
        return

    async def look(self, uid: str) -> None:
        return


class NoReports:
    def report(self, uid: str) -> Report | None:
        return None

    def unheard(self, uid: str) -> Unheard | None:
        return None


async def _nowhere() -> Collection[tuple[str, int]]:
    return ()


async def _unknown(name: str) -> Collection[str]:
    raise OSError("there is no DNS")


class Untimed(Queue):
    """Looks again at once or at news: timers run by this machine's clock, and the world has its own."""

    def schedule(self, key: Key, seconds: float | None) -> None:
        super().schedule(key, None if seconds else seconds)

    def back_off(self, key: Key) -> float:
        delay = super().back_off(key)
        super().schedule(key, delay)
        return delay


class Loop:
    """One operator over one simulated cluster."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self.world, self._dice = world, random.Random(seed)
        chosen = policies(Settings(runtime_image="runtime:test", operator_namespace="mlpools-system"))
        metrics, clock = Metrics(), world.clock
        metrics.pools.there = lambda: {raw["metadata"]["name"] for raw in world.list("ComputePool")}
        self.metrics, self.cluster = metrics, SlowCluster(world, self._dice)
        self.store, self.queue = Store(), Untimed(self._dice)
        candidates = {kind: policy.candidate for kind, policy in chosen.jobs.items()}
        self.ledger = Ledger(self.store, candidates, clock)
        self.feed = Feed(self.store, self.ledger, self.queue)
        obstacles, missing_pods = Obstacles(), MissingPods(self.cluster, clock)
        executor = Executor(self.cluster, self.store, self.feed, obstacles, metrics, clock)
        reconciler = Reconciler(
            policies=chosen,
            store=self.store,
            ledger=self.ledger,
            usage=Usage(self.cluster, self.ledger.candidates, "mlpools-system", metrics.pools, clock),
            queue=self.queue,
            executor=executor,
            obstacles=obstacles,
            missing_pods=missing_pods,
            reports=NoReports(),
            notebooks=Notebooks(
                policy=chosen.notebook,
                store=self.store,
                ledger=self.ledger,
                executor=executor,
                obstacles=obstacles,
                missing_pods=missing_pods,
                volumes=Volumes(self.cluster, clock),
                looks=NoLooks(),
                addresses=Addresses(
                    self.store, self.queue, clock, api_server=_nowhere, nameservers=(), lookup=_unknown
                ),
                clock=clock,
            ),
            clock=clock,
        )
        health = Health(lambda: len(self.queue), lambda: 0.0)
        self._workers = Workers(self.queue, reconciler.pass_over, health, metrics)
        self._told: dict[str, dict[str, Object]] = {kind: {} for kind in KINDS}

    @asynccontextmanager
    async def running(self, workers: int = 8) -> AsyncIterator[None]:
        """Let the workers work while the block runs."""
        task = asyncio.create_task(self._workers.run(workers))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def tell(self, kind: str) -> None:
        """Have the feed hear what happened to objects of a kind, as a watch tells it."""
        now = {raw["metadata"]["uid"]: raw for raw in self.world.list(kind)}
        for uid, raw in self._told[kind].items():
            if uid not in now:
                self.feed.event(kind, "DELETED", raw)
        for raw in now.values():
            self.feed.event(kind, "MODIFIED", raw)
        self._told[kind] = now

    async def settled(self, there: Callable[[], bool], rounds: int = 60) -> None:
        """Let everybody work in rounds, each with all news of the one before, until something holds.

        Raises:
            AssertionError: it never does.
        """
        for _ in range(rounds):
            for act in self.world.actors.values():
                act()
            for kind in KINDS:
                self.tell(kind)
            quiet = 0
            while quiet < 10:  # a few turns, since what is to be looked at again at once is queued by a timer
                await asyncio.sleep(0)
                quiet = 0 if len(self.queue) or self.queue.busy else quiet + 1
            if there():
                return
            self.world.clock.advance(1)
        raise AssertionError("It never gets there.")

    def passes(self, kind: str) -> float:
        """Return how often objects of a kind were looked at."""
        labels = {"kind": kind, "outcome": "done"}
        return self.metrics.registry.get_sample_value("mlpools_passes_total", labels) or 0.0

    async def until(self, there: Callable[[], bool], check: Callable[[], None], turns: int = 20_000) -> None:
        """Let news, actors and workers take turns in any order until something holds.

        Raises:
            AssertionError: it never does, or ``check`` failed in between.
        """
        moves: list[Callable[[], Any]] = [*self.world.actors.values()]
        moves += [partial(self.tell, kind) for kind in KINDS]
        for _ in range(turns):
            if there():
                return
            self._dice.choice(moves)()
            check()
            await asyncio.sleep(0)
        raise AssertionError("It never gets there.")
