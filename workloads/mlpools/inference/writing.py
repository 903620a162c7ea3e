"""Encodes the parts of shards and commits them, in a thread beside the one that predicts."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
from types import TracebackType
from typing import Self

import pyarrow as pa

from mlpools.errors import OutputExists, OutputNotWritable, PeerLost
from mlpools.inference.asking import Dispensary
from mlpools.inference.encode import PartFile, stored, stored_schema
from mlpools.inference.parts import BadRow, Committed, Place

#: Batches that wait.
_WAITING = 2


@dataclasses.dataclass(frozen=True)
class End:
    """A draft is complete, or given up."""

    draft: Draft
    read: int = 0
    bad: int = 0
    bad_rows: tuple[BadRow, ...] = ()
    abandoned: bool = False


@dataclasses.dataclass(frozen=True)
class Rows:
    """More rows of a draft."""

    draft: Draft
    rows: pa.Table


class PartWriter:
    """Writes one part after the other. A context manager: its end waits until all is committed.

    Attributes:
        schema: that all parts have; None until it is known.
    """

    def __init__(self, place: Place, dispensary: Dispensary, maker: str) -> None:
        """Prepare.

        Args:
            place: of the output.
            dispensary: is told what was committed.
            maker: attempt and worker, see ``Place.name``.
        """
        self.schema: pa.Schema | None = None
        self._place = place
        self._dispensary = dispensary
        self._maker = maker
        self._queue: queue.Queue[Rows | End | None] = queue.Queue(_WAITING)
        self._file: PartFile | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="encode", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=1.0)
                self._thread.join()
        if error is None:
            self.check()

    def begin(self, shard: int) -> Draft:
        """Return what takes the rows of a shard; one draft ends before the next begins."""
        return Draft(self, shard)

    def check(self) -> None:
        """Raise what ended the thread, if something did."""
        if self._error is not None:
            raise self._error

    def put(self, item: Rows | End) -> None:
        """Hand something over; waits while enough waits already."""
        while True:
            self.check()
            try:
                self._queue.put(item, timeout=1.0)
            except queue.Full:
                continue
            return

    def _work(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if item.draft.lost:
                    continue
                try:
                    self._handle(item)
                except OutputNotWritable as error:
                    self._lose(item.draft)
                    self._dispensary.unread(item.draft.shard, error)
                except OutputExists as error:
                    raise PeerLost(f"Another attempt took this one's place: {error}") from error
        except BaseException as error:  # it is the main thread's to handle
            self._error = error
        finally:
            self._abandon()

    def _handle(self, item: Rows | End) -> None:
        if isinstance(item, Rows):
            self._write(item)
        elif item.abandoned:
            self._abandon()
        else:
            self._commit(item)

    def _write(self, item: Rows) -> None:
        assert self.schema is not None
        schema = stored_schema(self.schema, self._place.form)
        if self._file is None:
            path = self._place.scratch(item.draft.shard, self._maker)
            self._file = PartFile(path, schema, self._place.form)
        self._file.write(stored(item.rows, schema))

    def _commit(self, end: End) -> None:
        assert self._file is not None
        file, shard = self._file, end.draft.shard
        part = file.finish(self._place.name(shard, self._maker))
        made = Committed((part,), end.read, end.bad, end.bad_rows)
        published = self._place.publish(file.path, made, shard=shard)
        self._file = None
        self._dispensary.committed(shard, published.to_dict())

    def _lose(self, draft: Draft) -> None:
        draft.lost = True
        self._abandon()

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.abandon()
            self._file = None


@dataclasses.dataclass(eq=False)
class Draft:
    """The part of a shard while it is being made.

    Attributes:
        shard: its number.
        lost: it could not be written, so that no more of its rows are wanted.
    """

    writer: PartWriter
    shard: int
    lost: bool = False

    def write(self, rows: pa.Table) -> None:
        """Add rows, in the schema of all parts."""
        self.writer.put(Rows(self, rows))

    def finish(self, read: int, bad: int, bad_rows: tuple[BadRow, ...]) -> None:
        """Commit the part.

        Args:
            read: rows that were read for it.
            bad: how many of them have no prediction.
            bad_rows: the first of these.
        """
        self.writer.put(End(self, read, bad, bad_rows))

    def abandon(self) -> None:
        """Throw away what was written."""
        self.writer.put(End(self, abandoned=True))
