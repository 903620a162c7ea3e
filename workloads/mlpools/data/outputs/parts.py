"""Rows cut into parts that are read independently of one another: pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mlpools.data.sharding import RowRange


def divide(ranges: Sequence[RowRange], parts: int) -> list[list[RowRange]]:
    """Divide ranges into runs of about equally many rows.

    Args:
        ranges: in order.
        parts: how many at most; a range is not cut, since its row group would be decoded twice.

    Returns:
        Runs that are not empty and together are the ranges, in their order.
    """
    total = sum(part.rows for part in ranges)
    runs: dict[int, list[RowRange]] = {}
    position = 0
    for part in ranges:
        middle = position + part.rows / 2
        runs.setdefault(min(parts - 1, int(middle * parts / total)), []).append(part)
        position += part.rows
    return list(runs.values())


def first(ranges: Sequence[RowRange], rows: int) -> list[RowRange]:
    """Return the first rows of some ranges."""
    found: list[RowRange] = []
    for part in ranges:
        if rows <= 0:
            break
        found.append(dataclasses.replace(part, stop=min(part.stop, part.start + rows)))
        rows -= found[-1].rows
    return found
