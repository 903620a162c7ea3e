"""Sets of rows, cheap to cut: a run of a row group, or what a shuffle left of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlpools.data.sharding import RowRange

Indices = npt.NDArray[np.integer[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Rows of one row group in ascending order; never empty.

    Attributes:
        group: position of the row group in the plan's order.
        rows: counted within the row group. A ``range`` where nothing is missing, else an array.
    """

    group: int
    rows: range | Indices

    @property
    def cover(self) -> RowRange:
        """The range that has to be read to get these rows."""
        return RowRange(self.group, int(self.rows[0]), int(self.rows[-1]) + 1)

    def part(self, start: int, stop: int) -> Block:
        """Return some of the rows, by their position among them."""
        return self if stop - start >= len(self.rows) else Block(self.group, self.rows[start:stop])

    def pick(self, positions: Indices) -> Block:
        """Return the rows at ascending positions."""
        first, last = int(positions[0]), int(positions[-1])
        if last - first + 1 == len(positions):
            return self.part(first, last + 1)
        rows = self.rows
        return Block(self.group, positions + rows.start if isinstance(rows, range) else rows[positions])


def whole(group_rows: Sequence[int]) -> list[Block]:
    """Return all rows, one block a row group."""
    return [Block(group, range(rows)) for group, rows in enumerate(group_rows) if rows]


def in_order(blocks: Iterable[Block]) -> list[Block]:
    """Return disjoint blocks in the plan's order, those joined that follow on one another."""
    joined: list[Block] = []
    for block in sorted(blocks, key=lambda block: (block.group, int(block.rows[0]))):
        before = joined[-1] if joined else None
        if (
            before is not None
            and before.group == block.group
            and isinstance(before.rows, range)
            and isinstance(block.rows, range)
            and before.rows.stop == block.rows.start
        ):
            joined[-1] = Block(block.group, range(before.rows.start, block.rows.stop))
        else:
            joined.append(block)
    return joined


class Run:
    """Blocks in a given order as one row of rows, which is cut at any position.

    Holds a few numbers a piece and makes blocks only when they are asked for: ten million pieces are fine.

    Args:
        blocks: what the rows are.
        piece_rows: cut blocks into pieces of so many rows; 0 leaves them whole.
    """

    def __init__(self, blocks: Sequence[Block], piece_rows: int = 0) -> None:
        self._blocks = blocks
        sizes = np.array([len(block.rows) for block in blocks], dtype=np.int64)
        pieces = -(-sizes // piece_rows) if piece_rows else np.ones(len(blocks), dtype=np.int64)
        self._block = np.repeat(np.arange(len(blocks)), pieces)
        nth = np.arange(len(self._block)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        self._start = nth * piece_rows
        left = sizes[self._block] - self._start
        self._rows = np.minimum(left, piece_rows) if piece_rows else left
        self._ends = np.cumsum(self._rows)

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self._block)

    @property
    def num_rows(self) -> int:
        """Rows of all pieces."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def borders(self) -> list[int]:
        """Positions at which pieces begin and end: 0 … ``num_rows``."""
        return [0, *self._ends.tolist()]

    def reorder(self, order: Indices) -> None:
        """Put the pieces into another order."""
        self._block, self._start, self._rows = self._block[order], self._start[order], self._rows[order]
        self._ends = np.cumsum(self._rows)

    def part(self, start: int, stop: int) -> list[Block]:
        """Return the rows from one position to another."""
        found = []
        piece = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            end = int(self._ends[piece])
            skipped = start - (end - int(self._rows[piece]))
            rows = min(stop, end) - start
            if rows:
                first = int(self._start[piece]) + skipped
                found.append(self._blocks[int(self._block[piece])].part(first, first + rows))
            start, piece = start + rows, piece + 1
        return found
