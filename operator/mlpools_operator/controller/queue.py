"""Which object to look at next: coalesced, one worker a key, what ends before what starts."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict

from mlpools_operator.controller.store import Key

FIRST_DELAY = 0.2
LONGEST_DELAY = 60.0


class Queue:
    """Keys to work on.

    Any number of ``add``s before a worker gets to a key are one pass. A key that is added while a worker
    has it comes back once that worker is done, so no object is ever worked on twice at a time. Urgent
    keys, what ends or frees nodes, are served before all others: when a plane is saturated, whatever
    is first in the queue is what gets done.

    All methods belong to one event loop.
    """

    def __init__(self, jitter: random.Random | None = None) -> None:
        self._urgent: OrderedDict[Key, None] = OrderedDict()
        self._normal: OrderedDict[Key, None] = OrderedDict()
        self._working: dict[Key, bool | None] = {}  # key -> how it was added meanwhile: urgent, or not at all
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._ready = asyncio.Event()
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, hides nothing

    def __len__(self) -> int:
        return len(self._urgent) + len(self._normal)

    @property
    def busy(self) -> int:
        """Keys that workers have now."""
        return len(self._working)

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Have a key looked at as soon as a worker is free."""
        if key in self._working:
            self._working[key] = bool(self._working[key]) or urgent
        elif urgent:
            self._normal.pop(key, None)
            self._urgent[key] = None
        elif key not in self._urgent:
            self._normal[key] = None
        if len(self):
            self._ready.set()

    def schedule(self, key: Key, seconds: float | None) -> None:
        """Have a key looked at after some time, None = only when something changes.

        Replaces what was scheduled before: whoever looked last knows best.
        """
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if seconds is not None:
            self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._due, key)

    def back_off(self, key: Key) -> float:
        """Have a key that failed looked at again, later each time; return the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        longest: float = min(FIRST_DELAY * 2**failures, LONGEST_DELAY)
        delay: float = longest * self._jitter.uniform(0.5, 1.0)
        self.schedule(key, delay)
        return delay

    def forgive(self, key: Key) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Return the next key, which is the caller's alone until ``done``."""
        while not len(self):
            self._ready.clear()
            await self._ready.wait()
        lane = self._urgent or self._normal
        key, _ = lane.popitem(last=False)
        self._working[key] = None
        return key

    def done(self, key: Key) -> None:
        """Give a key back."""
        again = self._working.pop(key)
        if again is not None:
            self.add(key, urgent=again)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)
