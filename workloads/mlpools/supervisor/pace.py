"""Which rank holds up its gang.

All ranks finish a step at the same time, whoever was slow in it, so the time of a step names nobody. What
does is each rank's own work in the step, which its worker measures (``train.own_time``): the others sleep
until the slow one is there.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping

#: A rank that takes so many times as long as the middle one of the others holds them up, …
SLOW_TIMES = 1.5
#: … until it takes less than so many times as long: one near the border is not told again and again.
EVEN_TIMES = 1.25
#: For so long on end, before anybody is told: a neighbour on the node may be busy for a moment.
SLOW_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Slow:
    """A rank that the others wait for, and how many times as long it takes."""

    rank: int
    times: float

    def sentence(self) -> str:
        """Return what a person should know."""
        return (
            f"Rank {self.rank} takes {self.times:g} times as long as the others for its own part of a step, "
            "and they wait for it: see what else uses the CPUs of its node, and whether it has more rows."
        )


class Pace:
    """Compares the ranks again and again. Time comes in from outside."""

    def __init__(self) -> None:
        self._suspect: int | None = None
        self._since = 0.0
        self._told: Slow | None = None

    def judge(self, seconds: Mapping[int, float], now: float) -> Slow | None:
        """Return the rank that holds up the others, None while there is none.

        Args:
            seconds: own work of each rank in a step; 0 = it does not say.
            now: monotonic time.
        """
        found = slowest(seconds)
        bound = SLOW_TIMES if self._told is None else EVEN_TIMES
        if found is None or found.times < bound:
            self._suspect = self._told = None
        elif found.rank != self._suspect:
            self._suspect, self._since, self._told = found.rank, now, None
        elif self._told is None and now - self._since >= SLOW_SECONDS:
            self._told = found
        return self._told


def slowest(seconds: Mapping[int, float]) -> Slow | None:
    """Return the slowest rank by the middle one of the others; None if it is alone, or not all say."""
    if len(seconds) < 2 or min(seconds.values()) <= 0:
        return None
    rank = max(seconds, key=lambda it: seconds[it])
    others = statistics.median(value for other, value in seconds.items() if other != rank)
    return Slow(rank, round(seconds[rank] / others, 1))
