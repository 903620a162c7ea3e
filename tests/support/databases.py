"""A database in memory whose connections break when they are told to."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from mlpools.data.sql.engines import Database
from mlpools.data.sql.failures import ConnectionLost
from mlpools.data.sql.session import Rows, Session


class FragileDatabase(Database):
    """Rows 0 … n-1 of a column ``id``, shared by snapshot; it stands in for a server.

    Attributes:
        breaks: how often a connection breaks in the middle of the rows from some ``id`` on.
        queries: how often the rows from some ``id`` on were asked for.
        lost: the snapshot's holder is gone: nobody can take its snapshot any more.
    """

    shares_snapshots = True

    def __init__(self, rows: int) -> None:
        self.place = "postgresql://ann@db/sales"
        self.rows = rows
        self.breaks: Counter[int] = Counter()
        self.queries: Counter[int] = Counter()
        self.snapshots = 0
        self.lost = False

    @contextlib.contextmanager
    def session(self, snapshot: str = "") -> Iterator[Session]:
        if snapshot and (self.lost or snapshot != f"snapshot-{self.snapshots}"):
            raise ConnectionLost("The snapshot is gone.")
        yield _FragileSession(self)

    def export(self, session: Session) -> str:
        self.snapshots += 1
        self.lost = False
        return f"snapshot-{self.snapshots}"


class _FragileSession:
    def __init__(self, database: FragileDatabase) -> None:
        self._database = database

    def query(self, text: str) -> Rows:
        schema = pa.schema([("id", pa.int64())])
        if "min(" in text:
            bounds = {"low": [0], "high": [self._database.rows - 1]}
            return _rows(pa.table(bounds).schema, iter(pa.table(bounds).to_batches()))
        if "LIMIT 0" in text:
            return _rows(schema, iter(()))
        low = re.search(r'"id" >= (\d+)', text)
        high = re.search(r'"id" < (\d+)', text)
        return _rows(
            schema, self._read(int(low[1]) if low else 0, int(high[1]) if high else self._database.rows)
        )

    def _read(self, low: int, high: int) -> Iterator[pa.RecordBatch]:
        self._database.queries[low] += 1
        middle = (low + high) // 2
        yield pa.record_batch({"id": range(low, middle)})
        if self._database.breaks[low] > 0:
            self._database.breaks[low] -= 1
            raise ConnectionLost("The server closed the connection.")
        yield pa.record_batch({"id": range(middle, high)})

    def close(self) -> None:
        """There is nothing to leave."""


def _rows(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Rows:
    return Rows(schema, batches, lambda error: RuntimeError(str(error)), lambda: None)
