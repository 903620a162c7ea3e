"""Looks at notebooks: asks the pod of each for how long it has not been used.

A look that fails changes nothing: a notebook that nobody can see does not stop. What comes from a pod is a
stranger's text: it is bounded and checked.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import aiohttp

from mlpools.contract.reports import Activity
from mlpools.contract.wiring import STATUS_PORT
from mlpools.document import ContractError
from mlpools_operator.controller import asking
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Key, Store
from mlpools_operator.domain import naming, wording
from mlpools_operator.domain.notebook.children import KIND
from mlpools_operator.domain.notebook.idle import UNSEEN_SECONDS, Look
from mlpools_operator.domain.notebook.status import TELL_SECONDS
from mlpools_operator.domain.observed import PodChild, Resource
from mlpools_operator.metrics import Metrics

_AT_ONCE = 16
_WORDS_BYTES = 512


class Target(NamedTuple):
    """A pod to look at; the UID is its notebook's."""

    key: Key
    uid: str
    address: str


class Looks:
    """Looks at each notebook that runs, and remembers the newest look."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        metrics: Metrics,
        clock: Callable[[], float],
        port: int = STATUS_PORT,
    ) -> None:
        """Watch over notebooks.

        Args:
            store: what is known of the world.
            queue: where a notebook goes that is to be looked at because of a look.
            metrics: counts reads.
            clock: seconds since the epoch.
            port: where pods answer.
        """
        self._store, self._queue, self._metrics = store, queue, metrics
        self._clock, self._port = clock, port
        self._newest: dict[str, Look] = {}
        self._handed: dict[str, Look] = {}
        self._tried: set[str] = set()

    def newest(self, uid: str) -> Look | None:
        """Return the newest look at a notebook."""
        return self._newest.get(uid)

    async def look_first(self, uid: str) -> None:
        """Look at a notebook at which nobody here has looked yet: after a start nothing is known of any."""
        if uid not in self._newest and uid not in self._tried:
            await self.look(uid)

    async def look(self, uid: str) -> None:
        """Look at a notebook now."""
        target = next((it for it in self._targets() if it.uid == uid), None)
        if target is not None:
            self._tried.add(uid)
            async with asking.session() as session:
                await self._look(session, target)

    async def run(self, seconds: float) -> None:
        """Look at every notebook every so many seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        async with asking.session() as session:
            while True:
                started = loop.time()
                await self.round(session)
                await asyncio.sleep(max(0.0, started + seconds - loop.time()))

    async def round(self, session: aiohttp.ClientSession) -> None:
        """Look at every notebook once, and hand on what is news."""
        targets, gate = list(self._targets()), asyncio.Semaphore(_AT_ONCE)

        async def look(target: Target) -> None:
            async with gate:
                await self._look(session, target)

        await asyncio.gather(*(look(target) for target in targets))
        there = {target.uid for target in targets}
        for known in (self._newest, self._handed):
            for uid in known.keys() - there:
                del known[uid]
        self._tried &= there
        for target in targets:
            newest = self._newest.get(target.uid)
            if newest is not None and _is_news(newest, self._handed.get(target.uid)):
                self._handed[target.uid] = newest
                self._queue.add(target.key)

    def _targets(self) -> Iterator[Target]:
        for _, pod in self._store.all("Pod"):
            if not isinstance(pod, PodChild) or pod.meta.labels.get(naming.KIND) != KIND:
                continue
            if pod.meta.labels.get(naming.PART) == naming.NODE:
                continue  # the head speaks for its cluster
            uid = pod.meta.labels.get(naming.JOB_UID, "")
            notebook = self._store.find(KIND, uid)
            runs = pod.phase == "Running" and pod.ip and not pod.meta.deleting
            if isinstance(notebook, Resource) and runs:
                yield Target(Key(KIND, notebook.meta.namespace, notebook.meta.name), uid, pod.ip)

    async def _look(self, session: aiohttp.ClientSession, target: Target) -> None:
        at = self._clock()
        try:
            text = await asking.status(session, target.address, self._port)
            self._newest[target.uid] = checked(Activity.from_json(text), at)
        except (TimeoutError, aiohttp.ClientError, OSError):
            self._metrics.probes.labels("unanswered").inc()
        except (ContractError, ValueError, TypeError):
            self._metrics.probes.labels("unreadable").inc()
        else:
            self._metrics.probes.labels("read").inc()


def checked(activity: Activity, at: float) -> Look:
    """Return what a pod says as a look.

    Args:
        activity: that it told.
        at: when it was asked: what happened while it answered counts as use.

    Raises:
        ValueError: a field has a wrong type, or is no finite number.
    """
    spans = (activity.unused_seconds, activity.untouched_seconds)
    for span in spans:
        if isinstance(span, bool) or not isinstance(span, int | float) or not math.isfinite(span):
            raise ValueError("a span of time is no number")
    if not isinstance(activity.attempt, int):
        raise ValueError("attempt is no number")
    unused, untouched = (max(0.0, span) for span in spans)
    return Look(
        at=at,
        attempt=activity.attempt,
        used=at - unused,
        touched=at - untouched,
        trouble=wording.fit(str(activity.trouble), _WORDS_BYTES),
        gpu_unseen=activity.gpu_unseen is True,
        dashboard=wording.fit(str(activity.dashboard), _WORDS_BYTES),
        said=wording.ending(str(activity.said), _WORDS_BYTES),
    )


def _is_news(look: Look, handed: Look | None) -> bool:
    """Whether a look says what is worth a pass."""
    if handed is None or look.at - handed.at >= UNSEEN_SECONDS:
        return True
    same = (handed.attempt, handed.trouble, handed.gpu_unseen, handed.dashboard)
    moved = look.used - handed.used >= TELL_SECONDS
    return moved or same != (look.attempt, look.trouble, look.gpu_unseen, look.dashboard)
