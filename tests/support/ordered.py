"""Rows with numbers, to see which ones an order hands out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pyarrow as pa

from mlpools.data.batches import ARROW, read_batches
from mlpools.data.order import RankOrder
from mlpools.data.sharding import RowRange


class Numbered:
    """Row groups whose one column says each row's number in the whole; counts what is read."""

    def __init__(self, group_rows: Sequence[int], piece: int = 7) -> None:
        self.starts = [0, *itertools.accumulate(group_rows)]
        self.piece = piece
        self.ranges: list[RowRange] = []

    def read(self, ranges: Sequence[RowRange]) -> Iterator[pa.Table]:
        """Yield the ranges' rows, some a table."""
        for part in ranges:
            self.ranges.append(part)
            for start in range(part.start, part.stop, self.piece):
                first = self.starts[part.group] + start
                last = self.starts[part.group] + min(start + self.piece, part.stop)
                yield pa.table({"row": list(range(first, last))})


def worker_batches(
    order: RankOrder, group_rows: Sequence[int], worker: int = 0, first: int = 0
) -> list[list[int]]:
    """Return the numbers of the rows of each batch of a worker."""
    read = Numbered(group_rows).read
    return [
        batch.column(0).to_pylist() for batch in read_batches(order, read, ARROW, worker=worker, first=first)
    ]


def in_turn(workers: Sequence[Sequence[list[int]]]) -> list[list[int]]:
    """Return the batches of all workers as a DataLoader hands them out."""
    queues = [list(batches) for batches in workers]
    handed = []
    while any(queues):
        handed += [queue.pop(0) for queue in queues if queue]
    return handed


def rank_batches(order: RankOrder, group_rows: Sequence[int]) -> list[list[int]]:
    """Return the numbers of the rows of each batch of a rank."""
    return in_turn([worker_batches(order, group_rows, worker) for worker in range(order.reading.num_workers)])
