"""Cuts between whole groups: rows that share a value of the group column stay together.

Where row groups are sorted by that column, their statistics say so, and only the one in which a cut falls
has to be looked into.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data.formats import Bounds

#: As in ``sharding``: a cut may move by this share of a shard to spare a look into a row group.
_SLACK = 0.012

Codes = npt.NDArray[np.int32]

#: Returns the group column of one row group.
Keys = Callable[[int], pa.Array]


@dataclasses.dataclass(frozen=True)
class Sorted:
    """Row groups whose values of the group column ascend, or descend, from one to the next.

    Attributes:
        low: the first value of each, in the direction of the order, or one before it.
        high: the last value of each, or one behind it.
        borders: positions at which row groups begin, and the end.
        descending: the direction.
    """

    low: tuple[Any, ...]
    high: tuple[Any, ...]
    borders: tuple[int, ...]
    descending: bool

    def before(self, one: Any, other: Any) -> bool:
        """Return whether one value comes strictly before another."""
        return bool(one > other if self.descending else one < other)

    def closed(self, group: int) -> bool:
        """Return whether no value lies on both sides of the beginning of a row group."""
        inside = 0 < group < len(self.low)
        return not inside or self.before(self.high[group - 1], self.low[group])


def find_order(bounds: Sequence[Bounds | None], group_rows: Sequence[int]) -> Sorted | None:
    """Return how row groups are sorted by statistics; None where they do not say that they are.

    Args:
        bounds: of the group column, of each row group.
        group_rows: rows of each, none of them empty.
    """
    known = [bound for bound in bounds if bound is not None and bound.low is not None and bound.nulls == 0]
    if len(known) < len(bounds) or any(isinstance(bound.low, float) for bound in known):
        return None
    borders = (0, *itertools.accumulate(group_rows))
    for descending in (False, True):
        low = tuple(bound.high if descending else bound.low for bound in known)
        high = tuple(bound.low if descending else bound.high for bound in known)
        found = Sorted(low, high, borders, descending)
        if not any(found.before(start, end) for end, start in zip(high, low[1:], strict=False)):
            return found
    return None


def cuts(order: Sorted, world_size: int, keys: Keys) -> list[int] | None:
    """Return the positions at which each rank's rows begin, and the end.

    Each is the border of two groups that is closest to an even cut.

    Args:
        order: of the row groups.
        world_size: number of ranks.
        keys: reads the group column of one row group; it is asked for few.

    Returns:
        None if a row group that was looked into is not sorted within.
    """
    # Statistics do not tell what is within a row group; one is a sample of all.
    if not _ascends(keys(0), order.descending):
        return None
    total = order.borders[-1]
    found = [0]
    for k in range(1, world_size):
        cut = _cut(order, total * k / world_size, _SLACK * total / world_size, keys)
        if cut is None:
            return None
        found.append(max(cut, found[-1]))
    return [*found, total]


def _cut(order: Sorted, exact: float, slack: float, keys: Keys) -> int | None:
    """Return the border of groups that is closest to a position."""
    i = bisect.bisect_left(order.borders, exact)
    for near in sorted((i - 1, i), key=lambda group: abs(order.borders[group] - exact)):
        if abs(order.borders[near] - exact) <= slack and order.closed(near):
            return order.borders[near]
    group = max(0, i - 1)
    values = keys(group)
    if not _ascends(values, order.descending):
        return None
    value = values[min(len(values) - 1, int(exact) - order.borders[group])].as_py()
    ends = _first_of(order, value, group, keys), _end_of(order, value, group, keys)
    if None in ends:
        return None
    return min((end for end in ends if end is not None), key=lambda end: abs(end - exact))


def _first_of(order: Sorted, value: Any, group: int, keys: Keys) -> int | None:
    """Return the position of the first row with a value, which lies in or before a row group."""
    first = group
    while first > 0 and not order.before(order.high[first - 1], value):
        first -= 1
    return _within(order, first, keys, lambda other: order.before(other, value))


def _end_of(order: Sorted, value: Any, group: int, keys: Keys) -> int | None:
    """Return the position behind the last row with a value, which lies in or behind a row group."""
    last = group
    while last + 1 < len(order.low) and not order.before(value, order.low[last + 1]):
        last += 1
    return _within(order, last, keys, lambda other: not order.before(value, other))


def _within(order: Sorted, group: int, keys: Keys, comes_before: Callable[[Any], bool]) -> int | None:
    """Return the position of the first row of a row group that does not come before a border."""
    values = keys(group)
    if not _ascends(values, order.descending):
        return None
    inside = bisect.bisect_left(range(len(values)), 1, key=lambda i: int(not comes_before(values[i].as_py())))
    return order.borders[group] + inside


def _ascends(values: pa.Array, descending: bool) -> bool:
    """Return whether values are in order, without nulls."""
    if values.null_count:
        return False
    earlier, later = values.slice(0, len(values) - 1), values.slice(1)
    in_order = pc.greater_equal(earlier, later) if descending else pc.less_equal(earlier, later)
    return bool(pc.all(in_order, min_count=0).as_py())


def codes(values: pa.Array) -> Codes:
    """Return a number for each value, equal ones for equal values; null is one value."""
    plain = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    numbers: Codes = plain.dictionary_encode(null_encoding="encode").indices.to_numpy(zero_copy_only=False)
    return numbers


def runs(values: pa.Array) -> list[int]:
    """Return the positions at which runs of equal values begin."""
    found = codes(values)
    return [0, *(np.flatnonzero(found[1:] != found[:-1]) + 1).tolist()] if len(found) else []


def uncut(tables: Iterable[pa.Table], column: str) -> Iterator[pa.Table]:
    """Yield the rows of tables in order, parted only between groups.

    Args:
        tables: in which equal values of the column follow on one another, also from one to the next.
        column: rows with equal values are a group.
    """
    held: list[pa.Table] = []  # the last group so far
    for table in tables:
        if not table.num_rows:
            continue
        joined = pa.concat_tables([*held, table])
        last = runs(joined.column(column).combine_chunks())[-1]
        if last:
            yield joined.slice(0, last)
        held = [joined.slice(last)]
    yield from held
