"""From an order to batches: reads row ranges, fills windows, cuts batches.

What is cut is whatever rows are wanted as: record batches, or tensors, which are made of whole row groups and
windows so that a batch of them is a few views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data.ahead import read_ahead
from mlpools.data.blocks import Block, Indices
from mlpools.data.order import RankOrder, Window
from mlpools.data.sharding import RowRange
from mlpools.errors import DataNotReadable

#: For permuted rows that wait for the loop, which goes on while the next ones are permuted.
_AHEAD_BYTES = 8 << 20

Read = Callable[[Sequence[RowRange]], Iterator[pa.Table]]


class Rows(Protocol):
    """Rows that batches are cut from, as a record batch is."""

    @property
    def num_rows(self) -> int:
        """How many."""

    def slice(self, offset: int, length: int | None = None) -> Self:
        """Return some of them, without a copy."""

    @property
    def nbytes(self) -> int:
        """Bytes they take."""


R = TypeVar("R", bound=Rows)


@dataclasses.dataclass(frozen=True)
class Form(Generic[R]):
    """What rows are wanted as.

    Attributes:
        of: makes them of a record batch that was read.
        join: makes one of several.
        window: makes one, of which rows are taken in any order, of tables and the number of their rows.
        take: returns a copy of the rows at some positions.
    """

    of: Callable[[pa.RecordBatch], R]
    join: Callable[[list[R]], R]
    window: Callable[[Iterator[pa.Table], int], R]
    take: Callable[[R, Indices], R]


def read_batches(
    order: RankOrder,
    read: Read,
    form: Form[R],
    *,
    worker: int = 0,
    first: int = 0,
    size: int | None = None,
) -> Iterator[R]:
    """Yield the batches of one worker of a rank.

    Without shuffle they are slices of what was read; only a batch that crosses a border of row groups
    is copied together.

    Args:
        order: of the rank.
        read: yields the rows of some ranges, in order, in pieces of any size.
        form: what rows are wanted as.
        worker: 0 … ``num_workers`` - 1.
        first: the worker's batch to begin with.
        size: rows of each batch handed out, if not those of the order; a window's last one may be short.

    Raises:
        DataNotReadable: there are fewer rows than planned.
    """
    size = size or order.reading.batch_size
    windows = list(order.windows(worker, first))
    if not order.reading.shuffle:
        for window, done in windows:
            blocks = window.left(done)
            expected = sum(len(block.rows) for block in blocks)
            yield from rebatch(_rows(read, blocks), size, form, expected=expected)
        return
    for chunk in read_ahead(_permuted(read, windows, form), _AHEAD_BYTES):
        for start in range(0, chunk.num_rows, size):
            yield chunk.slice(start, size)


def rebatch(
    tables: Iterable[pa.Table],
    size: int,
    form: Form[R],
    *,
    drop_last: bool = False,
    expected: int | None = None,
) -> Iterator[R]:
    """Cut tables into batches of exactly ``size`` rows; only the last one may have fewer.

    Args:
        tables: in order.
        size: rows of each batch.
        form: what rows are wanted as.
        drop_last: leave out a last batch with fewer rows.
        expected: rows of all tables, if they are known.

    Raises:
        DataNotReadable: there are not the ``expected`` rows.
    """
    held: list[R] = []
    missing, seen = size, 0
    for batch in _formed(tables, form):
        rows, start = batch.num_rows, 0
        seen += rows
        while rows - start >= missing:
            piece = batch.slice(start, missing)
            start += missing
            yield form.join([*held, piece]) if held else piece
            held, missing = [], size
        if start < rows:
            held.append(batch.slice(start))
            missing -= rows - start
    if held and not drop_last:
        yield form.join(held) if len(held) > 1 else held[0]
    if expected is not None:
        _check_rows(seen, expected)


def _formed(tables: Iterable[pa.Table], form: Form[R]) -> Iterator[R]:
    """Yield all rows in their form; a table that this is a copy of is given back before it is used."""
    for table in tables:
        stored = table.to_batches()[::-1]
        del table
        while stored:
            yield form.of(stored.pop())


def _rows(read: Read, blocks: Sequence[Block]) -> Iterator[pa.Table]:
    """Yield the rows of some blocks, in order."""
    tables = read([block.cover for block in blocks])
    return tables if all(isinstance(block.rows, range) for block in blocks) else _select(tables, blocks)


def _select(tables: Iterator[pa.Table], blocks: Sequence[Block]) -> Iterator[pa.Table]:
    """Leave out of each block's range what is not in the block."""
    rest: list[pa.Table] = []
    for block in blocks:
        cover = block.cover
        pieces = _fill(tables, rest, cover.rows)
        if isinstance(block.rows, range):
            yield from pieces
            continue
        position = cover.start
        for piece in pieces:
            lo, hi = np.searchsorted(block.rows, [position, position + piece.num_rows])
            if lo < hi:
                yield piece.take(pa.array(block.rows[lo:hi] - position))
            position += piece.num_rows


def _fill(tables: Iterator[pa.Table], rest: list[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield so many rows, of what is left of the last table and of further ones; keep what is over."""
    found = 0
    while found < rows:
        table = rest.pop() if rest else next(tables, None)
        if table is None:
            _check_rows(found, rows)
            break
        wanted = rows - found
        if table.num_rows > wanted:
            rest.append(table.slice(wanted))
            table = table.slice(0, wanted)
        found += table.num_rows
        yield table


def _permuted(read: Read, windows: Sequence[tuple[Window, int]], form: Form[R]) -> Iterator[R]:
    """Yield the rows of windows in their final order, whole batches at once."""
    tables = _rows(read, [block for window, _ in windows for block in window.blocks])
    rest: list[pa.Table] = []
    for window, done in windows:
        rows = form.window(_fill(tables, rest, window.num_rows), window.num_rows)
        for positions in window.chunks(done):
            yield form.take(rows, positions)
        del rows  # or two windows would be in memory while the next one is filled


def _together(tables: Iterator[pa.Table], rows: int) -> pa.RecordBatch:
    """Join tables into one batch, column by column, giving back each one's pieces as it is copied."""
    joined = pa.concat_tables(tables)
    schema, columns = joined.schema, joined.columns
    del joined
    for i, column in enumerate(columns):
        columns[i] = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


#: Rows as Arrow has them.
ARROW: Form[pa.RecordBatch] = Form(
    of=lambda batch: batch,
    join=pa.concat_batches,
    window=_together,
    take=lambda rows, positions: pc.take(rows, pa.array(positions), boundscheck=False),
)


def _check_rows(found: int, expected: int) -> None:
    if found != expected:
        raise DataNotReadable(
            f"The data gave {found:,} rows where its plan has {expected:,}; was a file replaced? "
            "Write new data to new files."
        )
