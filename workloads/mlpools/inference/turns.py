"""A worker's way through its shards, whatever it does with their rows: begin, add, finish, or give up."""

from __future__ import annotations

import dataclasses
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from mlpools.data.ahead import Sized, read_ahead
from mlpools.errors import DataNotReadable, JobError
from mlpools.inference.asking import Dispensary
from mlpools.inference.ledger import Failure
from mlpools.inference.parts import BAD_ROWS, BadRow, Place
from mlpools.inference.rows import Form, conform, settled
from mlpools.inference.scoring import PoisonRow
from mlpools.inference.writing import Draft, PartWriter


class Work(Protocol):
    """A shard, or a bucket."""

    @property
    def number(self) -> int:
        """Its place in the order, from 0."""

    @property
    def rows(self) -> int:
        """Number of rows."""


#: A shard, and what its rows come in.
W = TypeVar("W", bound=Work)
R = TypeVar("R", bound=Sized)


@dataclasses.dataclass(eq=False)
class Turn(Generic[W]):
    """A shard that was handed out; the same one may be handed out again, which is another turn.

    Attributes:
        shard: which.
        dropped: no more of its rows are wanted.
    """

    shard: W
    dropped: bool = False


@dataclasses.dataclass(frozen=True)
class Piece(Generic[W, R]):
    """Rows of a shard, or its end.

    Attributes:
        turn: that the rows are of.
        rows: the next ones; None behind the last.
        error: why there are no more, if so.
    """

    turn: Turn[W]
    rows: R | None = None
    error: DataNotReadable | PoisonRow | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return 0 if self.rows is None else self.rows.nbytes


class Turns(ABC, Generic[W, R]):
    """Takes shards until there are no more.

    A thread takes shards and reads ahead, the main thread predicts, and a third one encodes and commits.
    """

    def __init__(
        self,
        form: Form,
        place: Place,
        dispensary: Dispensary,
        writer: PartWriter,
        alive: Callable[[], None],
        *,
        budget: int,
    ) -> None:
        """Prepare.

        Args:
            form: of the output's rows.
            place: of the output.
            dispensary: hands out shards.
            writer: encodes and commits.
            alive: called while there is nothing to do.
            budget: bytes for rows that are read and wait.
        """
        self._form = form
        self._place = place
        self._dispensary = dispensary
        self._writer = writer
        self._alive = alive
        self._budget = budget
        self._waiting: list[pa.Table] = []
        self._over = threading.Event()
        self._draft: Draft | None = None
        self._done = 0
        self._bad: list[BadRow] = []
        self._bad_count = 0

    @abstractmethod
    def _shard(self, number: int) -> W:
        """Return a shard."""

    @abstractmethod
    def _read(self, shard: W) -> Iterable[R]:
        """Yield a shard's rows, in the thread that reads ahead.

        Raises:
            DataNotReadable: it cannot be read; another worker may try.
            PoisonRow: nobody can predict for it.
        """

    @abstractmethod
    def _add(self, shard: W, rows: R) -> None:
        """Predict for rows.

        Raises:
            PoisonRow: the model fails on a row.
        """

    @abstractmethod
    def _rest(self, shard: W) -> None:
        """Predict for what still waits at a shard's end.

        Raises:
            PoisonRow: the model fails on a row.
        """

    @abstractmethod
    def _forget(self) -> None:
        """Forget rows that wait."""

    @abstractmethod
    def _blame(self, shard: W, poison: PoisonRow) -> Failure:
        """Return how a shard failed."""

    def run(self) -> None:
        """Work.

        Raises:
            JobError: nothing can go on; a shard that fails is told to the dispenser instead.
        """
        pieces = read_ahead(self._pieces(), self._budget)
        try:
            with self._writer:
                for piece in pieces:
                    self._writer.check()
                    self._take(piece)
        finally:
            self._over.set()  # or the thread that reads would wait for shards as long as others have some
            pieces.close()

    def _take(self, piece: Piece[W, R]) -> None:
        turn, shard = piece.turn, piece.turn.shard
        if self._draft is not None and self._draft.lost:
            self._drop(turn)
        if turn.dropped:
            return
        if self._draft is None:
            self._begin(shard)
        try:
            if isinstance(piece.error, PoisonRow):
                raise piece.error
            if piece.error is not None:
                self._drop(turn)
                self._dispensary.unread(shard.number, piece.error)
            elif piece.rows is not None:
                self._add(shard, piece.rows)
            else:
                self._rest(shard)
                self._finish(shard)
        except PoisonRow as poison:
            self._drop(turn)
            self._dispensary.failed(self._blame(shard, poison))

    def _begin(self, shard: W) -> None:
        self._forget()
        self._waiting = []
        self._draft = self._writer.begin(shard.number)
        self._done, self._bad, self._bad_count = 0, [], 0

    def _emit(self, tables: Sequence[pa.Table], predicted: pa.Schema | None) -> None:
        """Write rows of the output; as long as nobody knows of which types predictions are, they wait.

        Args:
            tables: of rows.
            predicted: columns of those with predictions, if there are any.
        """
        self._waiting += tables
        schema = self._writer.schema if predicted is None else self._schema(predicted)
        if schema is None or not self._waiting:
            return
        assert self._draft is not None
        found = [conform(rows, schema) for rows in self._waiting]
        self._waiting = []
        if len(found) > 1:
            found = [pa.concat_tables(found).unify_dictionaries().combine_chunks()]
        self._draft.write(found[0])

    def _note_bad(self, bad: BadRow, rows: int = 1) -> None:
        """Remember what has no prediction, and how many rows that are."""
        if len(self._bad) < BAD_ROWS:
            self._bad.append(bad)
        self._bad_count += rows

    def _finish(self, shard: W) -> None:
        assert self._draft is not None
        if self._waiting:  # the model fails on all rows
            blank = settled(self._form.blank(self._waiting[0]).schema)
            self._writer.schema = self._dispensary.blank(shard.number, blank)
            if self._writer.schema is None:
                self._give_up()
                return
            self._emit([], None)
        draft, self._draft = self._draft, None
        if self._done != shard.rows:
            raise JobError(
                f"Shard {shard.number} has {shard.rows:,} rows, but {self._done:,} were read. "
                "Please report it."
            )
        draft.finish(self._done, self._bad_count, tuple(self._bad))

    def _drop(self, turn: Turn[W]) -> None:
        """Give up a shard; what is left of it is not predicted."""
        turn.dropped = True
        self._give_up()

    def _give_up(self) -> None:
        self._forget()
        if self._draft is not None:
            self._draft.abandon()
            self._draft = None

    def _schema(self, own: pa.Schema) -> pa.Schema:
        """Return what all parts have in common; the first worker that has predictions says it."""
        if self._writer.schema is None:
            self._writer.schema = self._dispensary.agree(settled(own))
        return self._writer.schema

    def _wait(self) -> None:
        """Look around while there is nothing to do: what cannot be committed keeps shards from coming."""
        self._alive()
        self._writer.check()

    def _pieces(self) -> Iterator[Piece[W, R]]:
        """Yield the rows of shards, in the thread that reads ahead."""
        for grant in self._dispensary.grants(self._wait, self._over):
            shard = self._shard(grant.shard)
            if grant.again and self._place.once and (there := self._place.of_shard(shard.number, shard.rows)):
                self._dispensary.committed(shard.number, there.to_dict())
                continue
            turn = Turn(shard)
            try:
                for rows in self._read(shard):
                    if turn.dropped:
                        break
                    yield Piece(turn, rows)
                yield Piece(turn)
            except (DataNotReadable, PoisonRow) as error:
                yield Piece(turn, error=error)
