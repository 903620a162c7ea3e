"""In which order the rows of an epoch are read: index arithmetic, no row is touched.

Without shuffle the order is the plan's. With it rows are spread on three scales, each time by ``spread``:
row groups over the ranks, slices of a rank's row groups (or whole ones) over windows that fit into memory,
and runs of 16 rows over chunks of a window that fit into a processor's cache. Within a chunk every order
of rows is equally likely. A draw depends on seed, epoch and what is drawn, and on nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mlpools.data import sharding
from mlpools.data.blocks import Block, Indices, Run

#: Rows that stay together down to the last scale: a cache line of four-byte values.
_LINE_ROWS = 16
#: Rows permuted at once. 32,768 four-byte values are 128 KiB, which a core's own cache holds.
_CHUNK_ROWS = 1 << 15
#: Of 64 bits.
Numbers = npt.NDArray[np.uint64]
#: Multiples of it, each without its whole part, are spread evenly however many there are.
_GOLDEN = (5**0.5 - 1) / 2


@dataclasses.dataclass(frozen=True)
class Draw:
    """What the chances of a shuffle depend on.

    Attributes:
        seed: of the user's choice.
        epoch: 0, 1, …
        stage: how often the epoch was begun anew with other ranks, workers or batches.
        what: names one draw of many.
    """

    seed: int
    epoch: int
    stage: int = 0
    what: tuple[int, ...] = ()

    def of(self, *what: int) -> Draw:
        """Name a further draw."""
        return dataclasses.replace(self, what=(*self.what, *what))

    def numbers(self, count: int) -> Numbers:
        """Return random numbers. NumPy keeps those of this generator for ever, so an old state stays good."""
        words = [self.seed & 0xFFFFFFFF, self.seed >> 32 & 0xFFFFFFFF, self.epoch, self.stage, *self.what]
        found: Numbers = np.random.PCG64(np.random.SeedSequence(words)).random_raw(count)
        return found


def spread(pieces: int, parts: int, draw: Draw) -> Indices:
    """Spread pieces over parts so that each part gets its share from everywhere.

    Of every ``parts`` neighbours each part gets one, which one is drawn: each piece is equally likely in
    each part, and yet data sorted by a label has nearly the same share of it in all parts. Within a part
    the order is such that its beginning, or its end, comes from everywhere too; so it may be cut elsewhere.

    Returns:
        The pieces, part after part.
    """
    rounds = -(-pieces // parts)
    random = (draw.numbers(rounds * parts + parts) >> np.uint64(11)) * 2.0**-53
    part = random[:-parts].reshape(rounds, parts).argsort(axis=1, kind="stable").ravel()[:pieces]
    turn = random[-parts:][part] + np.arange(pieces) // parts * _GOLDEN
    fraction_bits = 64 - parts.bit_length()
    fraction = (turn % 1 * 2.0**fraction_bits).astype(np.uint64)
    return _ascending(part.astype(np.uint64) << np.uint64(fraction_bits) | fraction)


def permutation(count: int, draw: Draw) -> Indices:
    """Return 0 … ``count`` - 1 in an order of which each is equally likely."""
    return _ascending(draw.numbers(count))


def _ascending(numbers: Numbers) -> Indices:
    """Return the positions of numbers in the order of their size, as far as their highest bits tell it.

    The lowest bits are used for the position. So numbers are sorted and no positions, which takes a third of
    the time, and gives the same on every machine.
    """
    position = np.uint64((1 << len(numbers).bit_length()) - 1)
    mixed = numbers & ~position | np.arange(len(numbers), dtype=np.uint64)
    mixed.sort()
    return (mixed & position).view(np.int64)


def even_cuts(rows: int, batch_size: int, parts: int) -> list[int]:
    """Return where to cut rows into parts of whole batches, nearly equally many; only the last can be short.

    Were parts of unequal size, spreading could not give each its share from everywhere.
    """
    batches = -(-rows // batch_size)
    return [min(rows, batches * i // parts * batch_size) for i in range(parts + 1)]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a rank reads its rows.

    Attributes:
        batch_size: rows of each batch.
        shuffle: in an order drawn for each epoch, else in the plan's.
        num_workers: streams that the batches are dealt to in turn, as a DataLoader fetches them.
        drop_last: leave out a last batch with fewer rows.
        window_rows: with shuffle, at most so many rows are in memory at once, per worker.
        slice_rows: with shuffle, row groups are cut into slices of so many rows before they are spread
            over the windows; 0 keeps them whole.
    """

    batch_size: int
    shuffle: bool = False
    num_workers: int = 1
    drop_last: bool = False
    window_rows: int = 0
    slice_rows: int = 0


@dataclasses.dataclass(frozen=True)
class Window:
    """Rows that are in memory together.

    Attributes:
        blocks: its rows, in reading order.
        draw: of their order; None leaves them as they are.
        batch_size: rows of each batch.
    """

    blocks: tuple[Block, ...]
    draw: Draw | None
    batch_size: int

    @functools.cached_property
    def num_rows(self) -> int:
        """Rows of all blocks."""
        return sum(len(block.rows) for block in self.blocks)

    def chunks(self, first_row: int = 0) -> Iterator[Indices]:
        """Yield positions of rows in the window, in the order they are handed out.

        Args:
            first_row: so many rows were handed out before.
        """
        assert self.draw is not None
        rows = self.num_rows
        cuts = even_cuts(rows, self.batch_size, -(-rows // _CHUNK_ROWS))
        order = spread(-(-rows // _LINE_ROWS), len(cuts) - 1, self.draw)
        lines = (order * _LINE_ROWS).astype(np.int32)
        positions = np.add.outer(lines, np.arange(_LINE_ROWS, dtype=np.int32)).ravel()
        positions = positions[positions < rows]
        for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
            if first_row < stop:
                within = permutation(stop - start, self.draw.of(number))
                yield positions[start:stop][within][max(0, first_row - start) :]

    def left(self, first_row: int) -> list[Block]:
        """Return the rows that were not handed out when the first ``first_row`` were."""
        if self.draw is None:
            return Run(self.blocks).part(first_row, self.num_rows)
        if first_row >= self.num_rows:
            return []
        positions = np.sort(np.concatenate(list(self.chunks(first_row))))
        ends = np.cumsum([len(block.rows) for block in self.blocks])
        cuts = np.searchsorted(positions, ends)
        return [
            block.pick(positions[lo:hi] - (end - len(block.rows)))
            for block, end, lo, hi in zip(self.blocks, ends, [0, *cuts[:-1]], cuts, strict=True)
            if lo < hi
        ]


class RankOrder:
    """The batches of one rank in one epoch.

    Batch i comes from worker i mod ``num_workers``: the order in which a DataLoader hands out. Only the
    last batch can be short.

    Args:
        blocks: the rank's rows, in the order they were dealt to it.
        reading: how they are read.
        draw: of this rank.
    """

    def __init__(self, blocks: Sequence[Block], reading: Reading, draw: Draw) -> None:
        self.reading = reading
        self._draw = draw
        self._run = Run(sorted(blocks, key=_place), reading.slice_rows) if reading.shuffle else Run(blocks)
        rows, size = self._run.num_rows, reading.batch_size
        self.batches = rows // size if reading.drop_last else -(-rows // size)
        self.num_rows = min(rows, self.batches * size)
        self._windows = self._window_count()
        if reading.shuffle:
            windows = sum(len(self._edges(worker)) for worker in range(reading.num_workers))
            self._run.reorder(spread(len(self._run), max(1, windows), draw))

    def batches_of(self, worker: int) -> int:
        """Return how many batches one worker hands out."""
        return -(-(self.batches - worker) // self.reading.num_workers) if worker < self.batches else 0

    def windows(self, worker: int, batch: int = 0) -> Iterator[tuple[Window, int]]:
        """Yield the windows of a worker from one of its batches on.

        Yields:
            A window, and how many of its rows earlier batches had.
        """
        size = self.reading.batch_size
        begin = self._begin(worker)
        for number, (start, stop) in enumerate(self._edges(worker)):
            first = begin + batch * size
            if first < stop:
                yield self._window(worker, number, start, stop), max(0, first - start)

    def left(self, yielded: Sequence[int]) -> list[Block]:
        """Return the rows that were not handed out.

        Args:
            yielded: batches handed out so far, by worker.
        """
        rest = [
            block
            for worker, batch in enumerate(yielded)
            for window, first in self.windows(worker, batch)
            for block in (window.left(first) if first else window.blocks)
        ]
        return rest + self._run.part(self.num_rows, self._run.num_rows)

    def imbalance(self) -> float:
        """Return how unlike the whole a window is: 0 … 0.5, over all windows of this rank.

        It is the largest difference between a window's share of the first half of the rows and a half: how
        far a label's share in a batch is off on data sorted by it, apart from chance.
        """
        rows = self.num_rows
        windows = [window for w in range(self.reading.num_workers) for window, _ in self.windows(w)]
        if len(windows) < 2:
            return 0.0
        ordered = Run(sorted(self._run.part(0, rows), key=_place))
        middle = _place(ordered.part(rows // 2, rows // 2 + 1)[0])
        found = (sum(_before(block, middle) for block in w.blocks) / w.num_rows for w in windows)
        return max(abs(share - rows // 2 / rows) for share in found)

    def _in_turn(self) -> list[int]:
        """Return the workers in the order of their rows: the one with the last batch is the last."""
        count = self.reading.num_workers
        return [(self.batches + i) % count for i in range(count)]

    def _begin(self, worker: int) -> int:
        """Return the position of a worker's first row."""
        before = self._in_turn()
        before = before[: before.index(worker)]
        return self.reading.batch_size * sum(self.batches_of(other) for other in before)

    def _window_count(self) -> int:
        """Return how many windows each worker has."""
        if not self.reading.shuffle:
            return 1
        rows = min(self.num_rows, self.batches_of(0) * self.reading.batch_size)
        return max(1, -(-rows // max(self.reading.window_rows, self.reading.batch_size)))

    def _edges(self, worker: int) -> list[tuple[int, int]]:
        """Return the positions of a worker's windows: whole batches, nearly equally many."""
        begin = self._begin(worker)
        rows = min(self.batches_of(worker) * self.reading.batch_size, self.num_rows - begin)
        cuts = even_cuts(rows, self.reading.batch_size, self._windows)
        return [(begin + start, begin + stop) for start, stop in itertools.pairwise(cuts) if start < stop]

    def _window(self, worker: int, number: int, start: int, stop: int) -> Window:
        blocks = self._run.part(start, stop)
        size = self.reading.batch_size
        if not self.reading.shuffle:
            return Window(tuple(blocks), None, size)
        if self.reading.slice_rows:
            blocks.sort(key=_place)
        return Window(tuple(blocks), self._draw.of(worker, number), size)


def _place(block: Block) -> tuple[int, int]:
    return block.group, int(block.rows[0])


def _before(block: Block, place: tuple[int, int]) -> int:
    """Return how many of a block's rows come before a place."""
    if block.group != place[0]:
        return len(block.rows) if block.group < place[0] else 0
    return int(np.searchsorted(np.asarray(block.rows), place[1]))


class Deal:
    """Which rows of an epoch belong to which rank.

    Args:
        blocks: all rows, in the plan's order.
        world_size: number of ranks.
        draw: of the epoch.
        shuffle: deal row groups at random, else in order.
        equal: as in ``sharding.shard``.
    """

    def __init__(
        self, blocks: Sequence[Block], world_size: int, draw: Draw, *, shuffle: bool, equal: bool
    ) -> None:
        self._run = Run(_spread_groups(blocks, world_size, draw) if shuffle else blocks)
        self._borders = self._run.borders
        self._world_size = world_size
        self._equal = equal
        self._chances = {"seed": draw.seed, "epoch": draw.epoch}

    def share(self, rank: int) -> list[Block]:
        """Return the rows of one rank."""
        spans = sharding.spans(self._borders, rank, self._world_size, equal=self._equal, **self._chances)
        return [block for start, stop in spans for block in self._run.part(start, stop)]

    def surplus(self) -> list[Block]:
        """Return the rows that no rank has."""
        if not self._equal:
            return []
        return self._run.part(*sharding.surplus(self._run.num_rows, self._world_size, **self._chances))


def _spread_groups(blocks: Sequence[Block], world_size: int, draw: Draw) -> list[Block]:
    """Spread row groups over ranks; what is left of one row group stays together."""
    groups: dict[int, list[Block]] = {}
    for block in blocks:
        groups.setdefault(block.group, []).append(block)
    parts = list(groups.values())
    order = spread(len(parts), world_size, draw)
    return [block for group in order for block in parts[group]]
