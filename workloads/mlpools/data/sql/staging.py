"""A query's rows, read once under one snapshot into Parquet parts.

Every pass, epoch, rank and attempt then reads the parts. They count only once their manifest is there, which
is written last; a connection that breaks costs its own partition, whose parts are thrown away and read again.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from mlpools import budgets
from mlpools.data.progress import got_further
from mlpools.data.sql.engines import Database
from mlpools.data.sql.failures import ConnectionLost, short
from mlpools.data.sql.query import Order, Query, conditions
from mlpools.data.sql.session import Session
from mlpools.data.sql.threads import in_threads
from mlpools.data.sql.values import Values
from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest, Part
from mlpools.data.writers.parts import PartsWriter
from mlpools.errors import DataNotReadable, InvalidSpec, OutputExists
from mlpools.storage import Location

#: Seconds before a broken connection is made anew, and how often that is tried: a server may be restarting.
PAUSES: Sequence[float] = (1, 5, 20)
#: Connections at once at most, and ranges: more of these, since values are seldom spread evenly.
READERS = 4
PARTITIONS = 16
_PART_BYTES = 64 << 20
#: What a reader may hold: an encoded part, a row group before and after encoding, the driver's batch.
_READER_BYTES = 256 << 20


@dataclasses.dataclass(frozen=True)
class Read:
    """What one reader has written.

    Attributes:
        parts: its files.
        schema: of the rows.
    """

    parts: tuple[Part, ...]
    schema: pa.Schema


@dataclasses.dataclass(frozen=True)
class Reading:
    """The way of one query into one folder, in three steps: fix a snapshot, read, commit.

    Attributes:
        database: to read from.
        query: what to read.
        target: the parts' folder.
        alive: called when batches have come; what it raises ends the reading.
    """

    database: Database
    query: Query
    target: Location
    alive: Callable[[], None] = got_further

    def __post_init__(self) -> None:
        if self.query.partition_on and not self.database.shares_snapshots:
            raise InvalidSpec(
                f"partitionOn cannot be used with {self.database.place}: one connection reads it. "
                "Leave partitionOn out."
            )

    def order(self, holder: Session) -> Order:
        """Fix snapshot and partitions, by the connection that holds the snapshot until all have read.

        Raises:
            DataNotReadable: the query fails, or its column cannot be cut.
        """
        attempt = commit.begin(self.target)
        if not self.query.partition_on or not (snapshot := self.database.export(holder)):
            return Order(attempt)
        return Order(attempt, snapshot, conditions(holder, self.query, PARTITIONS))

    def read(self, order: Order, mine: Sequence[int], holder: Session | None = None) -> list[Read]:
        """Read some partitions.

        Args:
            order: what all readers agreed on.
            mine: which of its partitions.
            holder: the snapshot's connection, which reads by itself where no other can see the snapshot.

        Raises:
            DataNotReadable: the database refuses.
            ConnectionLost: it broke off too often, or the snapshot is gone.
        """
        if order.snapshot:
            return in_threads(
                lambda item, check: self._retried(order, item, check),
                mine,
                readers(budgets.memory()),
                self.alive,
            )
        assert holder is not None
        return [self._partition(order, item, holder, self.alive) for item in mine]

    def finish(self, order: Order, read: Iterable[Read]) -> Manifest:
        """Make what all readers wrote the result.

        Raises:
            DataNotReadable: there is not one row.
            OutputExists: another attempt was faster.
        """
        all_read = list(read)
        parts = [part for one in all_read for part in one.parts]
        if not parts:
            raise DataNotReadable(
                f"The query {short(self.query.text)!r} on {self.database.place} gave no rows. "
                "Is its WHERE as meant?"
            )
        details = {"query": self.query.bare, "database": self.database.place}
        return commit.commit(self.target, parts, all_read[0].schema, attempt=order.attempt, details=details)

    def _retried(self, order: Order, item: int, check: Callable[[], None]) -> Read:
        for pause in itertools.chain(PAUSES, [None]):
            try:
                with self.database.session(order.snapshot) as session:
                    return self._partition(order, item, session, check)
            except ConnectionLost:
                if pause is None:
                    raise
                _wait(pause, check)
        raise AssertionError("unreachable")

    def _partition(self, order: Order, item: int, session: Session, check: Callable[[], None]) -> Read:
        with session.query(self.query.where(order.conditions[item])) as rows:
            values = Values(rows.schema)
            # Parts are named by partition, so that their order does not depend on who was faster. A writer
            # that is left by an exception removes what it wrote.
            with PartsWriter(
                self.target, values.schema, attempt=order.attempt, rank=item, part_bytes=_PART_BYTES
            ) as writer:
                for batch in rows:
                    check()
                    writer.write(values.convert(batch))
        return Read(tuple(writer.parts), values.schema)


def readers(memory: int) -> int:
    """Return how many connections read at once within some bytes of memory."""
    return max(1, min(READERS, memory // _READER_BYTES))


def stage(
    database: Database, query: Query, folder: Location, *, alive: Callable[[], None] = got_further
) -> tuple[Location, Manifest]:
    """Read a query into parts below a folder; what lies there already, whole and of the same query, is used.

    Args:
        database: to read from.
        query: what to read.
        folder: of this job.
        alive: called when batches have come; what it raises ends the reading.

    Returns:
        The folder of the parts and their manifest.

    Raises:
        DataNotReadable: the database refuses, or keeps breaking off.
        OutputNotWritable: the folder refuses.
    """
    target = folder.child(query.key(database.place))
    if target.child(commit.SUCCESS).exists():
        return target, commit.read_manifest(target)
    reading = Reading(database, query, target, alive)
    with database.session():
        pass  # who cannot be reached at all is told at once; later failures are waited out
    for pause in itertools.chain(PAUSES, [None]):
        try:
            return target, _read_all(reading)
        except ConnectionLost:  # the snapshot went with its holder: nothing that was read can be kept
            if pause is None:
                raise
            _wait(pause, lambda: None)
        except OutputExists:  # another attempt, which was believed dead, was faster
            return target, commit.read_manifest(target)
    raise AssertionError("unreachable")


def _read_all(reading: Reading) -> Manifest:
    with reading.database.session() as holder:
        order = reading.order(holder)
        read = reading.read(order, range(len(order.conditions)), holder)
    return reading.finish(order, read)


def _wait(seconds: float, check: Callable[[], None]) -> None:
    """Wait, but notice that there is no use in it."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        check()
        time.sleep(min(left, 0.5))
