"""The operator's loop without its I/O: the real store and ledger, the real decisions, a simulated cluster.

What the real loop does by itself is up to the test here: when a change becomes known (``hear``), whose turn
it is (``pass_pool``, ``pass_job``), and after how many writes the process dies.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.cluster.errors import AlreadyExists, ClusterError, Conflict
from mlpools_operator.cluster.kinds import CHILDREN
from mlpools_operator.controller import notebooks, read
from mlpools_operator.controller.ledger import CandidateOf, Ledger
from mlpools_operator.controller.store import Change, Family, Key, Store, root_of
from mlpools_operator.domain import naming
from mlpools_operator.domain.computepool import pool
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.job import asking, lifecycle, transitions
from mlpools_operator.domain.job.observed import Observed
from mlpools_operator.domain.job.transitions import Transition
from mlpools_operator.domain.kinds import JOB_KINDS
from mlpools_operator.domain.notebook import asking as notebook_asking
from mlpools_operator.domain.notebook import lifecycle as notebook_lifecycle
from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.notebook.transitions import of_notebook
from mlpools_operator.domain.observed import Child, Resource
from mlpools_operator.domain.plan import Event, Plan
from mlpools_operator.domain.pods.egress import Known
from mlpools_operator.domain.pool.ledger import Candidate, Surroundings
from mlpools_operator.domain.queue import admission
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
WATCHED = (*KINDS, *CHILDREN)
NOTEBOOK = "NotebookRuntime"


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
        #: When each notebook was really used last, by UID; it is not seen while it is None.
        self.used: dict[str, float | None] = {}
        self.tokens: set[str] = set()
        self.decide = admission.decide
        self.fuse = Fuse()
        self.restart()

    def restart(self) -> None:
        """Start anew: nothing is known but what the API server lists."""
        self.store = Store()
        candidates = {**{name: _candidate_of(name) for name in JOB_KINDS}, NOTEBOOK: self._notebook}
        self.ledger = Ledger(self.store, candidates, self.clock)
        self.looks: dict[str, Look] = {}
        self.known = Known()
        self.token_at: dict[str, float] = {}
        self.store.subscribe(self._touch)
        self.foreign: dict[str, tuple[Child, ...]] = {}
        self.heard: dict[str, float] = {}
        self.fuse = Fuse()
        self.hear(*WATCHED)

    def _notebook(self, resource: Resource, family: Family, now: float) -> Candidate | None:
        return notebook_asking.candidate(resource, family.jobs, family.pods, now, self.defaults)

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
        observed = Observed(
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
        plan = lifecycle.plan(JOB_KINDS[key.kind], resource, observed, self.clock(), self.defaults)
        return self._execute(key, resource, plan)

    def look(self, uid: str) -> None:
        """Look at a notebook, if it has a pod and that answers."""
        pods = self.store.family(uid).pods
        attempt = next((it.attempt for it in pods if it.phase == "Running" and not it.gone_by), None)
        used = self.used.get(uid, 0.0)
        if attempt is not None and used is not None:
            self.looks[uid] = Look(self.clock(), attempt, used, used)

    def pass_notebook(self, key: Key) -> float | None:
        """Look at a notebook once."""
        notebook = self.store.resource(key)
        if notebook is None:
            return None
        plan = self.plan_notebook(notebook)
        if plan.look:
            self.look(notebook.meta.uid)
            plan = self.plan_notebook(notebook)
        self.foreign.pop(notebook.meta.uid, None)
        return self._execute(key, notebook, plan)

    def plan_notebook(self, notebook: Resource) -> Plan:
        """Decide about a notebook as it stands, and do nothing."""
        uid = notebook.meta.uid
        observed = notebooks.observe(
            self.store,
            notebook,
            verdict=self.ledger.verdict(uid),
            known=self.known,
            look=self.looks.get(uid),
            token_at=self.token_at.get(uid, 0.0),
            foreign=self.foreign.get(uid, ()),
        )
        return notebook_lifecycle.plan(notebook, observed, self.clock(), self.defaults)

    def pass_all(self) -> float | None:
        """Hear everything and look at everything once; return when the next look is due."""
        self.hear(*WATCHED)
        due = [self.pass_pool(key.name) for key in self.keys("ComputePool")]
        due += [self.pass_job(key) for kind in JOB_KINDS for key in self.keys(kind)]
        for _, notebook in self.store.all(NOTEBOOK):
            self.look(notebook.meta.uid)
        due += [self.pass_notebook(key) for key in self.keys(NOTEBOOK)]
        return min((wait for wait in due if wait is not None), default=None)

    def _execute(self, key: Key, resource: Resource, plan: Plan) -> float | None:
        self.plans.append((key, plan))
        with contextlib.suppress(Conflict):
            for target in plan.delete:
                with contextlib.suppress(ClusterError):
                    self._count("delete", target.kind)
                    self.world.delete(target.kind, target.namespace, target.name, target.uid)
                self._hear_of(target.kind, target.namespace, target.name, target.uid)
            for manifest in plan.secrets:
                self._count("create", "Secret")
                self.tokens.add(manifest["metadata"]["name"])
                self.token_at[resource.meta.uid] = self.clock()
            for manifest in plan.apply:
                self._make("apply", resource, manifest, functools.partial(self._apply, resource))
            for target in plan.scale:
                self._count("scale", "Job")
                answer = self.world.scale(target.namespace, target.name, target.uid, target.pods)
                self.store.put("Job", read.entry("Job", answer))
            for manifest in plan.create:
                self._make("create", resource, manifest, self.world.create)
            if plan.status is not None:
                self._write(key, resource, plan.status)
                self.events += [(key.name, event) for event in plan.events]
        return plan.requeue_after

    def _apply(self, resource: Resource, manifest: Json) -> Json:
        metadata = manifest["metadata"]
        known = self.store.get(Key(manifest["kind"], metadata["namespace"], metadata["name"]))
        ours = known is not None and naming.belongs(known.meta, resource.meta)
        return self.world.apply(manifest, known.meta.resource_version if known and ours else NEVER)

    def _make(self, verb: str, resource: Resource, manifest: Json, send: Callable[[Json], Json]) -> None:
        kind, metadata = manifest["kind"], manifest["metadata"]
        self._count(verb, kind)
        try:
            answer = send(manifest)
        except (AlreadyExists, Conflict):
            answer = self.world.get(kind, metadata["namespace"], metadata["name"])
            entry = read.entry(kind, answer)
            if not naming.belongs(entry.meta, resource.meta):
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
            else of_notebook(resource, status, self.clock())
            if key.kind == NOTEBOOK
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


def _candidate_of(kind: str) -> CandidateOf:
    def candidate(resource: Resource, family: Family, now: float) -> Candidate | None:
        return asking.candidate(JOB_KINDS[kind], resource, family.jobs, family.pods, now)

    return candidate
