"""The epochs of one output: which comes next, in which order its rows are read, how far it is."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from mlpools.data import state
from mlpools.data.batches import ARROW, Form, R, read_batches, rebatch
from mlpools.data.blocks import Block, whole
from mlpools.data.clock import Clock
from mlpools.data.mixing import quality
from mlpools.data.order import RankOrder, Reading
from mlpools.data.sharding import RowRange
from mlpools.data.state import Position
from mlpools.data.whole_groups import WholeGroups, rows_of
from mlpools.errors import InvalidSpec

_log = logging.getLogger(__name__)
_iterations = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Share:
    """Whose rows they are.

    Attributes:
        rank: 0 … ``world_size`` - 1.
        world_size: number of ranks that the rows are dealt to.
        equal: give each of them the same number of rows; None leaves it to the output.
        seed: of the order, and of the rows left out so that shares are equal.
    """

    rank: int = 0
    world_size: int = 1
    equal: bool | None = None
    seed: int = 0


class Reader(Protocol):
    """What an order needs of an ingestor: rows, or what stands for several, in groups."""

    @property
    def group_rows(self) -> list[int]:
        """Rows of each group; they may have to be counted first."""

    def read(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the ranges' rows in order; None means all rows."""


class Rows:
    """The rows that an order is of.

    Args:
        ingestor: reads them.
        ranges: which of the ingestor's rows; None for all.
    """

    def __init__(self, ingestor: Reader, ranges: Sequence[RowRange] | None = None) -> None:
        self.ingestor = ingestor
        self.ranges = ranges

    def of(self, ingestor: Reader) -> Rows:
        """Return the same rows, read by another ingestor; groups of rows are read as before."""
        return self if isinstance(self.ingestor, WholeGroups) else Rows(ingestor, self.ranges)

    @functools.cached_property
    def for_shuffle(self) -> Reader:
        """What reads them in a shuffle, whose windows come back to the same row groups as later epochs do."""
        for_epochs = getattr(self.ingestor, "for_epochs", None)
        reader: Reader = self.ingestor if for_epochs is None else for_epochs()
        return reader

    @functools.cached_property
    def blocks(self) -> list[Block]:
        """All of them, in the plan's order; they may have to be counted first."""
        if self.ranges is None:
            return whole(self.ingestor.group_rows)
        return [Block(part.group, range(part.start, part.stop)) for part in self.ranges]

    def count(self) -> None:
        """Have them counted now, so that a process which gets these rows need not do it."""
        _ = self.blocks

    @functools.cached_property
    def num_rows(self) -> int:
        """Their number."""
        return sum(len(block.rows) for block in self.blocks)

    @functools.cached_property
    def identity(self) -> str:
        """Names the rows, so that a state of other data is refused."""
        plan = getattr(self.ingestor, "plan", None)
        within = [dataclasses.astuple(part) for part in getattr(self.ingestor, "ranges", ())]
        known = [
            plan.fingerprint() if plan else "",
            within,
            *(dataclasses.astuple(b.cover) for b in self.blocks),
        ]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


class Epochs:
    """Hands out the batches of one epoch after the other, and counts them.

    Args:
        rows: of all ranks.
        share: whose rows are handed out.
        clock: says which epoch comes next.
        read_ahead: batches go to a library that reads ahead of the loop, and nobody counts what the loop got.
    """

    def __init__(self, rows: Rows, share: Share, clock: Clock, *, read_ahead: bool = False) -> None:
        self._rows = rows
        self.share = share
        self.clock = clock
        self._read_ahead = read_ahead
        self._states: list[Mapping[str, Any]] = []
        self._alone_at: int | None = None
        self._position: Position | None = None
        #: Batches that the loop got of the epoch, by worker.
        self._yielded: dict[int, int] = {}
        #: Orders the iterations of all outputs of a process by when they began; 0 is none.
        self.begun = 0
        self._said = False
        self._counts_workers = False

    @property
    def owns_memory(self) -> bool:
        """Whether the memory of what is read is nobody else's."""
        return getattr(self._rows.ingestor, "gives_memory", False)

    def set_epoch(self, epoch: int) -> None:
        """Make an epoch the next one."""
        self.clock.set(epoch)

    def follow(self, other: Epochs) -> None:
        """Take over a state that was loaded before this output was made, and the epoch that comes next."""
        epoch, resumes = other.clock.peek()
        self._states = other._states
        self.clock.set(epoch, resumes=resumes)

    def load_state_dict(
        self, states: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, alone: bool = False
    ) -> None:
        """Go on where an epoch was left.

        Args:
            states: of all ranks and workers, from one step.
            alone: it is the state of this very worker process.

        Raises:
            InvalidSpec: they do not fit together, or are of other rows.
        """
        given = [states] if isinstance(states, Mapping) else list(states)
        if not given:
            raise InvalidSpec("load_state_dict was given no state.")
        epoch = Position.from_state(given[0]).epoch
        self._states, self._alone_at = given, epoch if alone else None
        if not alone:
            self.clock.set(epoch, resumes=True)

    @property
    def is_blind(self) -> bool:
        """Whether workers iterate, and nobody counts here what comes from them."""
        return self.clock.elsewhere and not self._counts_workers

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration stands that began last in this process."""
        if self._read_ahead:
            raise InvalidSpec(
                "state_dict does not know which batches the loop got: TensorFlow and Hugging Face read ahead "
                "of it. An epoch of to_batches or to_torch_dataset can be resumed."
            )
        if self._position is None or self.is_blind:
            raise InvalidSpec(
                "state_dict does not know which batches the loop got: the workers of a DataLoader read ahead "
                "of it. Iterate connector.track(loader) instead of the loader, or use a StatefulDataLoader."
            )
        if not getattr(self._rows.ingestor, "repeatable", True):
            raise InvalidSpec(
                "These rows come in another order each time, so state_dict cannot say which ones are left."
            )
        now = dataclasses.replace(self._position, data=self._rows.identity, yielded=dict(self._yielded))
        return now.to_state()

    def begin(
        self,
        reading: Reading,
        *,
        equal: bool,
        seed: int | None = None,
        key: str = "",
        watch: bool = False,
    ) -> Position:
        """Begin the next epoch, or go on with the one whose state was loaded.

        Args:
            reading: how rows are read if no state says otherwise.
            equal: all ranks have the same number of rows.
            seed: of the order, if not the share's.
            key: names the iteration where several worker processes share it.
            watch: other processes iterate, and this one counts what comes from them.
        """
        epoch, resumes = self.clock.peek() if watch else self.clock.take(key, self._alone_at)
        share = self.share
        position = Position(
            data="",
            seed=share.seed if seed is None else seed,
            epoch=epoch,
            rank=share.rank,
            world_size=share.world_size,
            equal=equal,
            reading=reading,
            yielded=dict.fromkeys(range(reading.num_workers), 0),
        )
        if resumes and self._states:
            fresh = dataclasses.replace(position, data=self._rows.identity)
            position = state.resume(self._states, fresh, alone=self._alone_at is not None)
        self._alone_at = None
        self._position, self._counts_workers = position, watch or bool(key)
        self._yielded = dict(position.yielded)
        self.begun = next(_iterations)
        return position

    def run(
        self, reading: Reading, columns: Sequence[str], *, equal: bool, seed: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the batches of the next epoch in one stream, and count them."""
        position = self.begin(reading, equal=equal, seed=seed)
        for batch in self.batches(position, columns, ARROW):
            self.advance(0)
            yield batch

    def only(self, worker: int) -> None:
        """Count for one worker; others are counted where they run."""
        self._yielded = {worker: self._yielded[worker]}

    def advance(self, worker: int) -> None:
        """Count a batch that the training loop gets now."""
        self._yielded[worker] += 1

    def batches(
        self,
        position: Position,
        columns: Sequence[str],
        form: Form[R],
        *,
        worker: int = 0,
        size: int | None = None,
    ) -> Iterator[R]:
        """Yield the batches of one worker from its position on; counting them is the caller's.

        Args:
            position: what ``begin`` returned.
            columns: which to read.
            form: what rows are wanted as.
            worker: 0 … ``num_workers`` - 1.
            size: rows of each batch handed out, if not those of the reading.
        """
        if isinstance(self._rows.ingestor, WholeGroups):
            found = self._stored(position, columns, ARROW, worker, size)
            return (form.of(rows_of(batch)) for batch in found)
        return self._stored(position, columns, form, worker, size)

    def _stored(
        self, position: Position, columns: Sequence[str], form: Form[R], worker: int, size: int | None
    ) -> Iterator[R]:
        reader = self._rows.for_shuffle if position.reading.shuffle else self._rows.ingestor
        read = functools.partial(reader.read, columns=columns)
        if self._as_stored(position):
            reading = position.reading
            tables = read(self._rows.ranges)
            yield from rebatch(tables, size or reading.batch_size, form, drop_last=reading.drop_last)
            return
        order = position.order(self._rows.blocks)
        if position.rank == worker == 0:
            self._say(position, order)
        first = position.yielded[worker]
        yield from read_batches(order, read, form, worker=worker, first=first, size=size)

    def _as_stored(self, position: Position) -> bool:
        """Return whether rows come as they are stored, all of them: they need not be counted then."""
        reading = position.reading
        begins = not position.before and not any(position.yielded.values())
        plain = position.world_size == reading.num_workers == 1 and not reading.shuffle
        return plain and begins and not isinstance(self._rows.ingestor, WholeGroups)

    def _say(self, position: Position, order: RankOrder) -> None:
        """Log what a user should know about this epoch, and about all of them once."""
        rows, world = self._rows.num_rows, position.world_size
        if position.equal and not position.before and rows % world:
            _log.info(
                "Epoch %d leaves out %d of %d rows, so that all %d ranks have equally many; "
                "each epoch leaves out others.",
                position.epoch,
                rows % world,
                rows,
                world,
            )
        text = "" if self._said else quality(order)
        if text:
            self._said = True
            _log.warning("%s", text)
