"""The operator's loop without its I/O: the real store and ledger, the real decisions, a simulated cluster.

What the real loop does by itself is up to the test here: when a change becomes known (``hear``), whose turn
it is (``pass_pool``, ``pass_job``), and after how many writes the process dies.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlpools.contract import Report
from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.cluster.errors import AlreadyExists, ClusterError, Conflict
from mlpools_operator.controller import read
from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.store import Change, Family, Key, Store, root_of
from mlpools_operator.domain.computepool import pool
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import Child, Resource
from mlpools_operator.domain.plan import Event, Plan
from mlpools_operator.domain.pool.ledger import Candidate, Surroundings
from mlpools_operator.domain.queue import admission
from mlpools_operator.domain.training import trainingjob, transitions
from mlpools_operator.domain.training.transitions import Transition
from tests.support.api_server import NEVER, Clock, Json
from tests.support.instances import FAMILIES
from tests.support.world import World

DEFAULTS = Defaults(
    runtime_image="runtime:test",
    operator_namespace="mlpools-system",
    operator_labels={"app.kubernetes.io/name": "mlpools", "app.kubernetes.io/component": "operator"},
    families=FAMILIES,
)
LATE_SECONDS = 60.0
WATCHED = (*KINDS, "Job", "Pod", "Service", "NetworkPolicy")


class Died(Exception):  # noqa: N818 - what a crash is
    """The process died before the next write."""


@dataclass
class Fuse:
    """Lets so many writes through, then kills the process; None = for ever."""

    left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Died
            self.left -= 1


class OperatorSim:
    """One operator process at a time over a world."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.clock = clock
        self.defaults = DEFAULTS
        self.writes: Counter[tuple[str, str]] = Counter()
        self.events: list[tuple[str, Event]] = []
        self.told: list[tuple[str, Transition]] = []
        self.plans: list[tuple[Key, Plan]] = []
        self.reports: dict[str, Report] = {}
        self.decide = admission.decide
        self.fuse = Fuse()
        self.restart()

    def restart(self) -> None:
        """Start anew: nothing is known but what the API server lists."""
        self.store = Store()
        self.ledger = Ledger(self.store, {trainingjob.KIND: _candidate}, self.clock)
        self.store.subscribe(self._touch)
        self.foreign: dict[str, tuple[Child, ...]] = {}
        self.heard: dict[str, float] = {}
        self.fuse = Fuse()
        self.hear(*WATCHED)

    def _touch(self, change: Change) -> None:
        for entry in (change.before, change.after):
            if entry is not None:
                self.ledger.touch(root_of(entry))

    def hear(self, *kinds: str) -> None:
        """Get to know everything that happened to objects of some kinds."""
        for kind in kinds:
            self.heard[kind] = self.clock()
            there = {raw["metadata"]["uid"]: raw for raw in self.world.list(kind)}
            for _, entry in list(self.store.all(kind)):
                if entry.meta.uid not in there:
                    self.store.remove(kind, entry.meta.uid)
            for raw in there.values():
                self.store.put(kind, read.entry(kind, raw))

    def wait(self, seconds: float) -> None:
        """Let time pass; news are never later than ``LATE_SECONDS``, as a health check sees to it."""
        self.clock.advance(seconds)
        if self.clock() - min(self.heard.values()) > LATE_SECONDS:
            self.hear(*WATCHED)

    def keys(self, kind: str) -> list[Key]:
        return sorted(key for key, _ in self.store.all(kind))

    def pass_pool(self, name: str) -> float | None:
        """Look at a pool: decide who may start, and write its status."""
        key = Key("ComputePool", "", name)
        resource = self.store.resource(key)
        if resource is None:
            return None
        candidates = self.ledger.candidates(name)
        now = self.clock()
        decision = self.decide(resource, candidates, Surroundings(), now, self.defaults.families)
        self.ledger.record(name, decision)
        uid = resource.meta.uid
        observed = pool.Observed(decision, candidates, self.store.family(uid).pods, self.foreign.pop(uid, ()))
        plan = pool.plan(resource, observed, self.clock(), self.defaults)
        return self._execute(key, resource, plan)

    def pass_job(self, key: Key) -> float | None:
        """Look at a job once."""
        resource = self.store.resource(key)
        if resource is None:
            return None
        family = self.store.family(resource.meta.uid)
        observed = trainingjob.Observed(
            pool=self.store.resource(Key("ComputePool", "", str(resource.spec["computePool"]))),
            verdict=self.ledger.verdict(resource.meta.uid),
            children=family.children,
            jobs=family.jobs,
            pods=family.pods,
            report=self.reports.get(resource.meta.uid),
            half_gangs=self.ledger.half_gangs(resource.meta.uid),
            runs=family.runs,
            foreign=self.foreign.pop(resource.meta.uid, ()),
        )
        return self._execute(key, resource, trainingjob.plan(resource, observed, self.clock(), self.defaults))

    def pass_all(self) -> float | None:
        """Hear everything and look at everything once; return when the next look is due."""
        self.hear(*WATCHED)
        due = [self.pass_pool(key.name) for key in self.keys("ComputePool")]
        due += [self.pass_job(key) for key in self.keys("TrainingJob")]
        return min((wait for wait in due if wait is not None), default=None)

    def _execute(self, key: Key, resource: Resource, plan: Plan) -> float | None:
        self.plans.append((key, plan))
        with contextlib.suppress(Conflict):
            for target in plan.delete:
                with contextlib.suppress(ClusterError):
                    self._count("delete", target.kind)
                    self.world.delete(target.kind, target.namespace, target.name, target.uid)
                self._hear_of(target.kind, target.namespace, target.name, target.uid)
            for manifest in plan.apply:
                self._make("apply", resource, manifest, self._apply)
            for manifest in plan.create:
                self._make("create", resource, manifest, self.world.create)
            if plan.status is not None:
                self._write(key, resource, plan.status)
                self.events += [(key.name, event) for event in plan.events]
        return plan.requeue_after

    def _apply(self, manifest: Json) -> Json:
        metadata = manifest["metadata"]
        known = self.store.get(Key(manifest["kind"], metadata["namespace"], metadata["name"]))
        return self.world.apply(manifest, known.meta.resource_version if known else NEVER)

    def _make(self, verb: str, resource: Resource, manifest: Json, send: Callable[[Json], Json]) -> None:
        kind, metadata = manifest["kind"], manifest["metadata"]
        self._count(verb, kind)
        try:
            answer = send(manifest)
        except (AlreadyExists, Conflict):
            answer = self.world.get(kind, metadata["namespace"], metadata["name"])
            entry = read.entry(kind, answer)
            if entry.meta.owner != resource.meta.uid:
                self.foreign[resource.meta.uid] = (Child(kind, entry.meta),)
                raise Conflict("the name is taken") from None
        self.store.put(kind, read.entry(kind, answer))

    def _write(self, key: Key, resource: Resource, status: Mapping[str, object]) -> None:
        self._count("status", key.kind)
        version = resource.meta.resource_version
        answer = self.world.replace_status(key.kind, key.namespace, key.name, status, version)
        self.store.put(key.kind, read.entry(key.kind, answer))
        told = (
            transitions.of_pool(resource, status)
            if key.kind == "ComputePool"
            else transitions.of_job(resource, status, self.clock())
        )
        self.told += [(resource.meta.uid, transition) for transition in told]

    def _hear_of(self, kind: str, namespace: str, name: str, uid: str) -> None:
        try:
            raw = self.world.get(kind, namespace, name)
        except ClusterError:
            self.store.remove(kind, uid)
        else:
            self.store.put(kind, read.entry(kind, raw))

    def _count(self, verb: str, kind: str) -> None:
        self.fuse.burn()
        self.writes[(verb, kind)] += 1


def _candidate(resource: Resource, family: Family, now: float) -> Candidate | None:
    return trainingjob.candidate(resource, family.jobs, family.pods, now)
