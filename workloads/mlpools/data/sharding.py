"""Which rows belong to which rank: pure functions of row counts.

Shards are row ranges over the ordered row groups of all files. A rank's border is moved to a border of
row groups where the balance allows it, since a row group that two ranks share is decoded by both.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import random
from collections.abc import Sequence

#: Each border may move by this share of a shard. Two shards then differ by at most four such moves,
#: which stays below 5 % of the smaller one.
_SLACK = 0.012


@dataclasses.dataclass(frozen=True)
class RowRange:
    """Rows ``start`` to ``stop`` (exclusive) of one row group, counted within it.

    Attributes:
        group: position of the row group in the plan's order.
    """

    group: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


def everything(group_rows: Sequence[int]) -> list[RowRange]:
    """Return all rows, one range a row group."""
    return [RowRange(group, 0, rows) for group, rows in enumerate(group_rows) if rows]


def shard(
    group_rows: Sequence[int],
    rank: int,
    world_size: int,
    *,
    equal: bool = False,
    seed: int = 0,
    epoch: int = 0,
) -> list[RowRange]:
    """Return the rows of one rank, in order.

    Args:
        group_rows: rows of each row group, in the plan's order.
        rank: 0 … ``world_size`` - 1.
        world_size: number of shards.
        equal: give every rank the same number of rows, ⌊N / w⌋, and drop the at most w - 1 others;
            which ones changes with ``seed`` and ``epoch``. Otherwise every row is in exactly one
            shard, and shards differ by at most 5 % or one row.
        seed: of the choice of dropped rows.
        epoch: of the choice of dropped rows.
    """
    borders = [0, *itertools.accumulate(group_rows)]
    return [
        part
        for start, stop in spans(borders, rank, world_size, equal=equal, seed=seed, epoch=epoch)
        for part in _ranges(borders, start, stop)
    ]


def spans(
    borders: Sequence[int], rank: int, world_size: int, *, equal: bool = False, seed: int = 0, epoch: int = 0
) -> list[tuple[int, int]]:
    """Return the positions of one rank's rows, as ``(start, stop)`` of at most two pieces.

    Args:
        borders: where a cut costs nothing, ascending from 0 to the number of rows.
        rank: 0 … ``world_size`` - 1.
        world_size: number of shards.
        equal: as in ``shard``.
        seed: as in ``shard``.
        epoch: as in ``shard``.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not one of {world_size} ranks.")
    if not equal:
        start, stop = (_cut(borders, k, world_size) for k in (rank, rank + 1))
        return [(start, stop)] if start < stop else []
    size = borders[-1] // world_size
    hole = surplus(borders[-1], world_size, seed=seed, epoch=epoch)
    return _around(hole, rank * size, (rank + 1) * size)


def surplus(rows: int, world_size: int, *, seed: int = 0, epoch: int = 0) -> tuple[int, int]:
    """Return the positions of the rows, at most ``world_size`` - 1, that ``equal`` shards leave out."""
    size, width = divmod(rows, world_size)
    start = random.Random(f"{seed}:{epoch}").randint(0, size * world_size)  # noqa: S311 - not for secrets
    return start, start + width


def _cut(borders: Sequence[int], k: int, world_size: int) -> int:
    """Return the border before shard k: the exact one, or a row group's close to it."""
    total = borders[-1]
    exact = total * k / world_size
    i = bisect.bisect_left(borders, exact)
    nearest = min(borders[max(0, i - 1) : i + 1], key=lambda border: abs(border - exact))
    near_enough = abs(nearest - exact) <= int(_SLACK * total / world_size)
    return nearest if near_enough else total * k // world_size


def _around(hole: tuple[int, int], start: int, stop: int) -> list[tuple[int, int]]:
    """Map a range of the rows that are left to ranges of all rows, around the dropped ones."""
    width = hole[1] - hole[0]
    before = (min(start, hole[0]), min(stop, hole[0]))
    after = (max(start, hole[0]) + width, max(stop, hole[0]) + width)
    return [part for part in (before, after) if part[0] < part[1]]


def _ranges(borders: Sequence[int], start: int, stop: int) -> list[RowRange]:
    """Return the pieces of row groups between two positions of the whole."""
    ranges = []
    group = bisect.bisect_right(borders, start) - 1
    while start < stop:
        end = min(stop, borders[group + 1])
        if end > start:
            ranges.append(RowRange(group, start - borders[group], end - borders[group]))
        start, group = end, group + 1
    return ranges
