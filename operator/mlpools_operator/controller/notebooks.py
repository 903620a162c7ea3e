"""One pass over one notebook: observe from memory, look at it if its end hangs on that, decide, execute."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mlpools_operator.controller.addresses import Addresses
from mlpools_operator.controller.execute import Blocked, Executor
from mlpools_operator.controller.feed import POOL
from mlpools_operator.controller.ledger import CandidateOf, Ledger
from mlpools_operator.controller.obstacles import MissingPods, Obstacle, Obstacles, Volumes
from mlpools_operator.controller.store import Key, Store
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.notebook.observed import Observed
from mlpools_operator.domain.notebook.volumes import Question, question
from mlpools_operator.domain.observed import Child, ClaimChild, JobChild, Resource, Told
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pods.egress import Known
from mlpools_operator.domain.pool.ledger import Verdict

#: Kinds of its children that have its own name.
_NAMED = ("Service", "Ingress", "NetworkPolicy", "StatefulSet", "ServiceAccount", "Role", "RoleBinding")


@dataclass(frozen=True)
class NotebookPolicy:
    """The decisions about notebooks.

    Attributes:
        candidate: what admission sees of one.
        names: of hosts, whose addresses a notebook needs.
        plan: what to do next.
    """

    candidate: CandidateOf
    names: Callable[[Resource, Resource | None, float], Collection[str]]
    plan: Callable[[Resource, Observed, float], Plan]


class _Found(NamedTuple):
    """What stands in the way of one pass, as far as no object in the Store says it."""

    obstacle: Obstacle
    unmade: str
    told: tuple[Told, ...]


class LooksAtNotebooks(Protocol):
    """How far notebooks are used."""

    def newest(self, uid: str) -> Look | None:
        """Return the newest look at a notebook."""

    async def look_first(self, uid: str) -> None:
        """Look at a notebook at which nobody here has looked yet."""

    async def look(self, uid: str) -> None:
        """Look at a notebook now."""


class Notebooks:
    """Makes the passes over notebooks."""

    def __init__(
        self,
        *,
        policy: NotebookPolicy,
        store: Store,
        ledger: Ledger,
        executor: Executor,
        obstacles: Obstacles,
        missing_pods: MissingPods,
        volumes: Volumes,
        looks: LooksAtNotebooks,
        addresses: Addresses,
        clock: Callable[[], float],
    ) -> None:
        self._policy, self._store, self._ledger, self._executor = policy, store, ledger, executor
        self._obstacles, self._missing_pods, self._volumes = obstacles, missing_pods, volumes
        self._looks, self._addresses, self._clock = looks, addresses, clock

    async def pass_over(self, key: Key, notebook: Resource) -> float | None:
        """Look at one notebook and do what is to be done.

        Returns:
            Seconds after which it wants another look without anything having changed.

        Raises:
            ClusterError: a write failed.
        """
        uid = notebook.meta.uid
        missing, ask_again = await self._missing_pods.words(self._store.family(uid))
        told, look_again = await self._volumes.told(self._question(notebook))
        found = _Found(self._obstacles.take(uid), missing, told)
        await self._looks.look_first(uid)
        known = await self._known(key, notebook)
        plan = self._plan(notebook, known, found)
        if plan.look:
            await self._looks.look(uid)
            plan = self._plan(notebook, known, found)
        try:
            await self._executor.execute(key, notebook, plan)
        except Blocked:
            return 0.0
        return times.earliest(plan.requeue_after, ask_again, look_again)

    def _question(self, notebook: Resource) -> Question | None:
        family = self._store.family(notebook.meta.uid)
        return question(family.pods, _claim(self._store, notebook))

    async def _known(self, key: Key, notebook: Resource) -> Known:
        pool = self._store.resource(_pool_of(notebook))
        return await self._addresses.known(key, self._policy.names(notebook, pool, self._clock()))

    def _plan(self, notebook: Resource, known: Known, found: _Found) -> Plan:
        uid = notebook.meta.uid
        observed = observe(
            self._store,
            notebook,
            verdict=self._ledger.verdict(uid),
            known=known,
            look=self._looks.newest(uid),
            token_at=self._executor.token_at(uid),
            foreign=found.obstacle.foreign,
            refused=found.obstacle.refused,
            unmade=found.unmade,
            told=found.told,
        )
        return self._policy.plan(notebook, observed, self._clock())


def observe(
    store: Store,
    notebook: Resource,
    *,
    verdict: Verdict | None,
    known: Known,
    look: Look | None,
    token_at: float,
    foreign: tuple[Child, ...] = (),
    refused: str = "",
    unmade: str = "",
    told: tuple[Told, ...] = (),
) -> Observed:
    """Return the world around a notebook: its pods, and whatever has the names of its children.

    The workspace of an earlier notebook of its name is no child of anybody, so it is found by its name.
    """
    name, space = naming.notebook(notebook.meta.name), notebook.meta.namespace
    attempt = int(notebook.status.get("attempt", 0))
    places = (
        *(Key(kind, space, name) for kind in _NAMED),
        Key("Service", space, naming.cluster(notebook.meta.name)),
        Key("NetworkPolicy", space, naming.notebook_runs(notebook.meta.name)),
        Key("Job", space, naming.cluster_job(notebook.meta.name, attempt)),
    )
    there = [entry for entry in map(store.get, places) if entry is not None]
    family = store.family(notebook.meta.uid)
    makers = {it.meta.uid: it for it in (*there, *family.jobs) if isinstance(it, JobChild)}.values()
    run = store.family(str(notebook.status.get("run", {}).get("uid", "")))
    return Observed(
        pool=store.resource(_pool_of(notebook)),
        verdict=verdict,
        children=tuple(it for it in there if isinstance(it, Child)),
        sets=tuple(it for it in makers if it.kind == "StatefulSet"),
        nodes=tuple(it for it in makers if it.kind == "Job"),
        pods=family.pods,
        claim=_claim(store, notebook),
        known=known,
        look=look,
        token_at=token_at,
        runs=family.runs,
        run_jobs=run.jobs,
        run_pods=run.pods,
        foreign=foreign,
        refused=refused,
        unmade=unmade,
        told=told,
    )


def _claim(store: Store, notebook: Resource) -> ClaimChild | None:
    name = naming.workspace(notebook.meta.name)
    claim = store.get(Key("PersistentVolumeClaim", notebook.meta.namespace, name))
    return claim if isinstance(claim, ClaimChild) else None


def _pool_of(notebook: Resource) -> Key:
    return Key(POOL, "", str(notebook.spec.get("computePool", "")))
