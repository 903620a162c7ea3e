"""Rows as whole groups: each group is one row that holds its rows as a list.

So everything that is said about the order of rows holds for groups: batches of so many groups, shuffled and
dealt to workers as wholes, and a state that tells which ones are left.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlpools.data.blocks import Block, Run
from mlpools.data.groups import codes, runs
from mlpools.data.ingestor import DataIngestor
from mlpools.data.sharding import RowRange, everything
from mlpools.errors import DataNotReadable

Positions = npt.NDArray[np.int64]

_LIST = "rows"


class WholeGroups:
    """Reads groups of rows that follow on one another.

    Args:
        ingestor: reads the rows.
        ranges: which rows; the rows of a group lie together in them.
        column: rows with equal values are a group.
    """

    def __init__(self, ingestor: DataIngestor, ranges: Sequence[RowRange], column: str) -> None:
        self._ingestor = ingestor
        self.ranges = tuple(ranges)
        self._column = column
        self.schema = ingestor.schema
        self.plan = getattr(ingestor, "plan", None)

    @functools.cached_property
    def group_rows(self) -> list[int]:
        """Number of groups that begin in each range."""
        ends = np.cumsum([part.rows for part in self.ranges])
        begin_in = np.searchsorted(ends, self._starts[:-1], side="right")
        counts: list[int] = np.bincount(begin_in, minlength=len(ends)).tolist()
        return counts

    def read(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield groups in order, each a list of its rows; None means all groups."""
        first = np.cumsum([0, *self.group_rows])
        for part in everything(self.group_rows) if ranges is None else ranges:
            starts = self._starts[first[part.group] + part.start : first[part.group] + part.stop + 1]
            wanted = [block.cover for block in self._run.part(int(starts[0]), int(starts[-1]))]
            parts = [RowRange(self.ranges[it.group].group, it.start, it.stop) for it in wanted]
            yield _nest(pa.concat_tables(self._ingestor.read(parts, columns)), starts - starts[0])

    @functools.cached_property
    def _starts(self) -> Positions:
        """Positions at which groups begin, and the end; reads the group column of all rows."""
        none = pa.schema([self.schema.field(self._column)]).empty_table()
        tables = self._ingestor.read(self.ranges, [self._column])
        keys = pa.concat_tables([none, *tables]).column(0).combine_chunks()
        starts = runs(keys)
        if len(starts) > len(np.unique(codes(keys))):
            raise DataNotReadable(
                f"Row groups are sorted by {self._column!r}, but not the rows within them, so batches would "
                f"part groups. Sort the rows by {self._column!r}."
            )
        return np.array([*starts, len(keys)])

    @functools.cached_property
    def _run(self) -> Run:
        return Run([Block(i, range(part.start, part.stop)) for i, part in enumerate(self.ranges)])


def _nest(rows: pa.Table, offsets: Positions) -> pa.Table:
    columns = [column.combine_chunks() for column in rows.columns]
    each = pa.StructArray.from_arrays(columns, fields=list(rows.schema))
    return pa.table({_LIST: pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), each)})


def rows_of(groups: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows of some groups, group after group."""
    return pa.RecordBatch.from_struct_array(groups.column(_LIST).flatten())
