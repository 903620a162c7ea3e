"""The workers: they take keys off the queue, make passes, and decide what an error means for the key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mlpools_operator import logs
from mlpools_operator.cluster import errors
from mlpools_operator.controller.health import Health
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Key
from mlpools_operator.metrics import Metrics

PassOver = Callable[[Key], Awaitable[float | None]]


class Workers:
    """A fixed number of workers over one queue."""

    def __init__(self, queue: Queue, pass_over: PassOver, health: Health, metrics: Metrics) -> None:
        self._queue, self._pass_over, self._health, self._metrics = queue, pass_over, health, metrics

    async def run(self, number: int) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                await self._one(key)
            finally:
                self._queue.done(key)

    async def _one(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcome = "done"
        try:
            after = await self._pass_over(key)
        except (errors.Conflict, errors.NotFound):
            # Somebody wrote or deleted it since it was seen; the watch is about to tell.
            outcome = "stale"
            self._queue.back_off(key)
        except errors.Fenced:
            # The process is about to end, and says why; or a renewal that was late comes in time after all.
            outcome = "fenced"
            self._queue.back_off(key)
        except errors.ClusterError as error:
            outcome = type(error).__name__.lower()
            delay = self._queue.back_off(key)
            logs.about(*key).warning("Request failed, trying again in %.1f s: %s", delay, error)
        except Exception:
            outcome = "defect"
            delay = self._queue.back_off(key)
            logs.about(*key).exception("Pass failed by a defect, trying again in %.1f s.", delay)
        else:
            self._queue.forgive(key)
            self._queue.schedule(key, after)
        self._health.passed()
        self._metrics.passes.labels(key.kind, outcome).inc()
        self._metrics.pass_seconds.labels(key.kind).observe(loop.time() - started)
