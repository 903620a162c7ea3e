"""Shards of whole groups where the data is sorted: what ``groups`` decides, asked of files and tables."""

from __future__ import annotations

import functools

import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data import formats, groups
from mlpools.data.blocks import Run, whole
from mlpools.data.files import reading
from mlpools.data.formats import Bounds
from mlpools.data.ingestor import DataIngestor
from mlpools.data.plan import Plan
from mlpools.data.sharding import RowRange
from mlpools.storage import locate


def ranges_of(ingestor: DataIngestor, column: str, rank: int, world_size: int) -> list[RowRange] | None:
    """Return the rows of one rank, in whole groups; None unless the data is known to be sorted by group.

    Reads statistics, and the group column of the row groups in which cuts fall.

    Args:
        ingestor: reads the rows of all ranks.
        column: rows with equal values are a group.
        rank: 0 … ``world_size`` - 1.
        world_size: number of ranks.
    """
    group_rows = ingestor.group_rows
    filled = [group for group, rows in enumerate(group_rows) if rows]

    @functools.cache
    def keys(group: int) -> pa.Array:
        part = RowRange(filled[group], 0, group_rows[filled[group]])
        return pa.concat_tables(ingestor.read([part], [column])).column(0).combine_chunks()

    plan = getattr(ingestor, "plan", None)
    bounds = _bounds(plan, column) if plan else None
    if bounds is None and len(filled) == 1:
        bounds = {filled[0]: _look(keys(0))}
    if bounds is None:
        return None
    rows = [group_rows[group] for group in filled]
    order = groups.find_order([bounds.get(group) for group in filled], rows)
    cuts = None if order is None else groups.cuts(order, world_size, keys)
    if cuts is None:
        return None
    blocks = Run(whole(group_rows)).part(cuts[rank], cuts[rank + 1])
    return [block.cover for block in blocks]


def _bounds(plan: Plan, column: str) -> dict[int, Bounds | None]:
    """Return what statistics tell about a column, by position of the row group."""
    found: dict[int, Bounds | None] = {}
    for file in plan.files:
        kind = formats.make(file.format, plan.options.get(file.format, {}))
        with reading(file.url), locate(file.url).open(file.info) as opened:
            inspection = kind.inspect(opened, file.url)
        found |= {len(found) + i: inspection.bounds(unit.start, column) for i, unit in enumerate(file.units)}
    return found


def _look(keys: pa.Array) -> Bounds:
    """Return the bounds of a table in memory."""
    plain = keys.dictionary_decode() if pa.types.is_dictionary(keys.type) else keys
    ends = pc.min_max(plain)
    return Bounds(ends["min"].as_py(), ends["max"].as_py(), plain.null_count, len(plain))
