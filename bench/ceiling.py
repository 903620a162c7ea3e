"""What a second CPU of this machine is worth: two trainings that share nothing, beside one alone.

Two CPUs may be two threads of one core, and share its caches and its way to memory. Ranks that never had to
wait for each other would gain just so much.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench import higgs
from bench.trainers import Trained, run

_ALONE = "plain, 1 thread"
#: Of the rows that everything else trains on.
_SHARE = 8


def pairs(framework: str, rounds: int, turns: int) -> list[tuple[Trained, Trained]]:
    """Train alone, and then two at once, in turns; return for each turn the one alone and the slower one."""
    folder = higgs.make(higgs.FILE_ROWS // _SHARE)

    def train(_: int) -> Trained:
        return run(_ALONE, framework, folder, rounds)

    found = []
    for _ in range(turns):
        alone = train(0)
        with ThreadPoolExecutor(2) as both:
            slower = max(both.map(train, range(2)), key=lambda one: one.files_to_model)
        found.append((alone, slower))
    return found


def ceiling(found: list[tuple[Trained, Trained]], figure: Callable[[Trained], float]) -> float:
    """Return how many times the work of one two get done in the same time."""
    return statistics.median(2 * figure(alone) / figure(slower) for alone, slower in found)
