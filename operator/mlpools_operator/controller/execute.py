"""Carrying out a plan: deletions, then children, then one status write, then Events.

Whatever is sent together touches different objects. Stopping after any of the writes is harmless: the next
pass looks at what is there and plans the rest.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from mlpools.contract.wiring import TOKEN_FILE
from mlpools_operator import logs
from mlpools_operator.cluster import errors
from mlpools_operator.cluster.objects import NEVER, Cluster
from mlpools_operator.controller import read
from mlpools_operator.controller.feed import POOL, Feed
from mlpools_operator.controller.obstacles import Obstacles
from mlpools_operator.controller.store import Change, Key, Store
from mlpools_operator.domain import naming
from mlpools_operator.domain.job import transitions
from mlpools_operator.domain.kinds import JOB_KINDS
from mlpools_operator.domain.notebook.transitions import of_notebook
from mlpools_operator.domain.observed import Child, Resource
from mlpools_operator.domain.plan import Delete, Event, Object, Plan, Scale
from mlpools_operator.metrics import Metrics


class Blocked(Exception):  # noqa: N818 - not an error of anybody
    """A planned object could not be made; the obstacle is noted and the next pass sees it."""


class Executor:
    """Sends what a plan asks for, and tells the store what came of it."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        feed: Feed,
        obstacles: Obstacles,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._cluster, self._store, self._feed = cluster, store, feed
        self._obstacles, self._metrics, self._clock = obstacles, metrics, clock
        self._token_at: dict[str, float] = {}
        store.subscribe(self._forget)

    async def execute(self, key: Key, resource: Resource, plan: Plan) -> None:
        """Carry out a plan.

        Raises:
            Blocked: an obstacle was noted; look at the resource again at once.
            ClusterError: a write failed; look at it again later.
        """
        await _together(self._delete(target) for target in plan.delete)
        # Before the pod that mounts it: the kubelet looks a second time only a minute later.
        await _together(self._keep_token(resource, manifest) for manifest in plan.secrets)
        await _together(
            [
                *(self._apply(resource, manifest) for manifest in plan.apply),
                *(self._scale(target) for target in plan.scale),
                *(self._create(key, resource, manifest) for manifest in plan.create),
            ]
        )
        if plan.status is not None and plan.status != resource.status:
            await self._write_status(key, resource, plan.status, plan.events)

    async def _delete(self, target: Delete) -> None:
        try:
            answer = await self._cluster.delete(target)
        except (errors.NotFound, errors.Conflict):  # gone, or another object has the name by now
            self._feed.gone(target.kind, target.uid)
            return
        if answer.get("kind") == target.kind:  # it ends gracefully; its end will be told
            self._feed.answer(target.kind, answer)
        else:
            self._feed.gone(target.kind, target.uid)

    async def _apply(self, resource: Resource, manifest: Object) -> None:
        place = _place(manifest)
        known = self._store.get(place)
        ours = known is not None and naming.belongs(known.meta, resource.meta)
        version = known.meta.resource_version if known is not None and ours else NEVER
        await self._make(resource, place, lambda: self._cluster.apply(manifest, resource_version=version))

    async def _scale(self, target: Scale) -> None:
        self._feed.answer("Job", await self._cluster.scale(target))

    async def _create(self, key: Key, resource: Resource, manifest: Object) -> None:
        place = _place(manifest)
        await self._make(resource, place, lambda: self._cluster.create(manifest))
        logs.about(*key).info("Created %s %s.", place.kind, place.name)
        if manifest["metadata"].get("labels", {}).get(naming.ATTEMPT) == "1":
            self._metrics.job_delay.observe(max(0.0, self._clock() - resource.meta.created))

    def token_at(self, uid: str) -> float:
        """Return when a notebook's token was last known to be there; 0 before."""
        return self._token_at.get(uid, 0.0)

    def _forget(self, change: Change) -> None:
        if change.after is None and change.before is not None:
            self._token_at.pop(change.before.meta.uid, None)

    async def _keep_token(self, resource: Resource, manifest: Object) -> None:
        """Make a token's Secret if it is not there: it is made up here, and nobody can read it back."""
        try:
            await self._cluster.create_secret(
                {**manifest, "stringData": {TOKEN_FILE: secrets.token_urlsafe(32)}}
            )
        except errors.AlreadyExists:
            pass
        except (errors.Refused, errors.Invalid) as refusal:
            self._obstacles.add_refusal(resource.meta.uid, str(refusal))
            raise Blocked from refusal
        if not self._store.was_removed(resource.meta.uid):  # it may go while its token is made
            self._token_at[resource.meta.uid] = self._clock()

    async def _make(self, resource: Resource, place: Key, send: Callable[[], Awaitable[Object]]) -> None:
        try:
            answer = await send()
        except (errors.AlreadyExists, errors.Conflict):
            await self._look_who_is_there(resource, place)
        except (errors.Refused, errors.Invalid) as refusal:
            self._obstacles.add_refusal(resource.meta.uid, str(refusal))
            raise Blocked from refusal
        else:
            self._feed.answer(place.kind, answer)

    async def _look_who_is_there(self, resource: Resource, place: Key) -> None:
        """Find out who has a name: we ourselves (an answer was lost), or somebody of whom the plan must know.

        Raises:
            Conflict: nobody any more; look again.
            Blocked: somebody else, or one of ours that is about to go.
        """
        try:
            raw = await self._cluster.get(*place)
        except errors.NotFound as gone:
            raise errors.Conflict(f"{place.kind} {place.name} went meanwhile.") from gone
        meta = read.meta(raw)
        if naming.belongs(meta, resource.meta) and not meta.deleting:
            self._feed.answer(place.kind, raw)
        else:
            self._obstacles.add_foreign(resource.meta.uid, Child(place.kind, meta))
            raise Blocked

    async def _write_status(
        self, key: Key, resource: Resource, status: Mapping[str, Any], events: Iterable[Event]
    ) -> None:
        answer = await self._cluster.replace_status(key.kind, resource.meta, status)
        stored = self._feed.answer(key.kind, answer)
        self._count(key, resource, status)
        for event in events:
            try:
                await self._cluster.record(key.kind, stored.meta, event, self._clock())
            except errors.AlreadyExists:
                continue
            except errors.ClusterError as error:  # the status says it too, and it is what counts
                logs.about(*key).warning("Event %s was not recorded: %s", event.reason, error)

    def _count(self, key: Key, resource: Resource, status: Mapping[str, Any]) -> None:
        if key.kind == POOL:
            self._metrics.pools.count(key.name, transitions.of_pool(resource, status))
        else:
            of_kind = transitions.of_job if key.kind in JOB_KINDS else of_notebook
            told = of_kind(resource, status, self._clock())
            self._metrics.pools.count(str(resource.spec.get("computePool", "")), told)


def _place(manifest: Object) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])


async def _together(writes: Iterable[Awaitable[None]]) -> None:
    """Wait for all; raise the worst of what went wrong: what blocks a plan before what passes."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    blocked = next((failure for failure in failures if isinstance(failure, Blocked)), None)
    if failures:
        raise blocked or failures[0]
