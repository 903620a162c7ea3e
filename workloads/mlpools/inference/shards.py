"""The input in shards: pure functions of the plan, so that every attempt has the same ones.

A shard is a range of rows of the plan's order, and becomes one file of the output. Row groups are kept
whole where that fits, since two shards that share one both decode it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

from mlpools.data.plan import Plan
from mlpools.data.sharding import RowRange
from mlpools.data.sizes import row_bytes

#: So many shards or more leave little to do again, and little to wait for at the end.
_SHARDS = 128
#: With fewer rows, what a shard costs by itself shows. A file is worth more than a row.
_FEWEST_ROWS, _MOST_ROWS = 1 << 17, 1 << 20
_MOST_FILES = 1024
#: A store is given a shard's file in one piece.
_MOST_BYTES = 256 << 20


@dataclasses.dataclass(frozen=True)
class Shard:
    """One piece of the work.

    Attributes:
        number: its place in the order, from 0.
        ranges: its rows, in order.
    """

    number: int
    ranges: tuple[RowRange, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.ranges)


def most_rows(plan: Plan, shard_rows: int | None = None, max_rows_per_file: int | None = None) -> int:
    """Return how many rows a shard has at most.

    Args:
        plan: that is counted.
        shard_rows: as asked for; None: by the number and the size of the rows.
        max_rows_per_file: bounds it in any case.
    """
    rows = shard_rows or _fitting(plan)
    return min(rows, max_rows_per_file or rows)


def cut(group_rows: Sequence[int], most: int) -> list[Shard]:
    """Return the shards: every row is in exactly one, none has more rows than allowed.

    Args:
        group_rows: rows of each row group, in the plan's order.
        most: rows of a shard.
    """
    pieces = itertools.chain.from_iterable(
        _pieces(group, rows, most) for group, rows in enumerate(group_rows)
    )
    shards: list[Shard] = []
    held: list[RowRange] = []
    rows = 0
    for piece in pieces:
        if held and rows + piece.rows > most:
            shards.append(Shard(len(shards), tuple(held)))
            held, rows = [], 0
        held.append(piece)
        rows += piece.rows
    if held:
        shards.append(Shard(len(shards), tuple(held)))
    return shards


def place_of(plan: Plan, shard: Shard, row: int) -> tuple[str, int]:
    """Return where a row of a shard comes from: the file, and which of its rows, from 0.

    With a filter, only rows that pass it are counted. Of files that are rows, it is the file itself.
    """
    for part in shard.ranges:
        if row < part.rows:
            within = part.start + row
            break
        row -= part.rows
    else:
        raise IndexError(row)
    file, unit = plan.units[part.group]
    if file.members:
        return file.members[unit.start + within].url, 0
    before = itertools.takewhile(lambda it: it[1] is not unit, (it for it in plan.units if it[0] is file))
    return file.url, within + sum(other.rows or 0 for _, other in before)


def row_width(plan: Plan) -> float:
    """Return about how many bytes a row takes in memory, at least 1."""
    on_disk = sum(file.size for file in plan.files) / max(1, plan.num_rows)
    named = any(file.members for file in plan.files) and "bytes" not in plan.schema.names
    return max(row_bytes(plan.schema, plan.schema.names), 0 if named else on_disk, 1.0)


def _fitting(plan: Plan) -> int:
    total, files = max(1, plan.num_rows), any(file.members for file in plan.files)
    bound = max(1, int(_MOST_BYTES / row_width(plan)))
    wanted = math.ceil(total / _SHARDS)
    if files:
        return min(bound, max(1, min(wanted, _MOST_FILES)))
    whole = min(max(plan.group_rows), _MOST_ROWS)
    return min(bound, max(whole, min(max(wanted, _FEWEST_ROWS), _MOST_ROWS)))


def _pieces(group: int, rows: int, most: int) -> Iterator[RowRange]:
    """Yield a row group, whole if it fits, else in pieces of about one size."""
    count = math.ceil(rows / most)
    for i in range(count):
        yield RowRange(group, rows * i // count, rows * (i + 1) // count)
