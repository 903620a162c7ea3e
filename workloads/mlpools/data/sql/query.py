"""A query, the ranges it is cut into, and who reads which.

Texts of SQL are put together here from the user's own query and from quoted names and values.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any

from mlpools.data.sql import partitions
from mlpools.data.sql.session import Session
from mlpools.data.sql.values import Values
from mlpools.errors import DataNotReadable, InvalidSpec, at_hand


@dataclasses.dataclass(frozen=True)
class Query:
    """What is read.

    Attributes:
        text: one SELECT.
        partition_on: a column by whose ranges the rows are read in parallel; empty: by one connection.
    """

    text: str
    partition_on: str = ""

    def __post_init__(self) -> None:
        if not self.bare:
            raise InvalidSpec("The query is empty; write a SELECT.")

    @property
    def bare(self) -> str:
        """The statement without its end."""
        return self.text.strip().rstrip("; \n\t")

    def where(self, condition: str) -> str:
        """Return the query for some of its rows."""
        return f"SELECT * FROM {self.inner} WHERE {condition}" if condition else self.line  # noqa: S608

    @property
    def inner(self) -> str:
        """The query as a table."""
        return f"({self.line}) AS mlpools"

    @property
    def line(self) -> str:
        """The statement with a line of its own: a comment may end it, and a bracket follow."""
        return f"{self.bare}\n"

    def key(self, place: str) -> str:
        """Return a name for its rows: another query, database or cut has another one."""
        return hashlib.sha256(json.dumps([place, self.bare, self.partition_on]).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Order:
    """What is read, fixed by the one who holds the snapshot for all connections that read.

    Attributes:
        attempt: of the parts.
        snapshot: for other connections; empty: only the holder's connection sees it.
        conditions: of each partition.
    """

    attempt: str
    snapshot: str = ""
    conditions: tuple[str, ...] = ("",)


def conditions(session: Session, query: Query, count: int) -> tuple[str, ...]:
    """Return the conditions that cut a query into about ``count`` ranges of its column.

    Raises:
        DataNotReadable: the query fails, or the column is absent or cannot be cut.
    """
    name = query.partition_on
    with session.query(f"SELECT * FROM {query.inner} LIMIT 0") as rows:  # noqa: S608
        names = rows.schema.names
    if name not in names:
        raise DataNotReadable(
            f"The query has no column {name!r} to partition on. {at_hand(name, names, 'Columns')}"
        )
    column = partitions.quoted(name)
    greatest = partitions.quoted(f"{name} (greatest)")
    least = f"SELECT min({column}) AS {column}, max({column}) AS {greatest} FROM {query.inner}"  # noqa: S608
    low, high = _one_row(session, least)
    if low is None:
        return ("",)
    if not isinstance(low, partitions.Bound) or isinstance(low, bool):
        raise DataNotReadable(
            f"Column {name!r} cannot be partitioned on: it is no number, date or timestamp. Take one that "
            "is, best one with an index."
        )
    if any(isinstance(value, float) and not math.isfinite(value) for value in (low, high)):
        raise DataNotReadable(
            f"Column {name!r} cannot be partitioned on: it holds NaN or infinity. Take another."
        )
    return tuple(partitions.predicates(column, partitions.cuts(low, high, count)))


def _one_row(session: Session, text: str) -> tuple[Any, ...]:
    with session.query(text) as rows:
        values = Values(rows.schema)
        (batch,) = [values.convert(batch) for batch in rows]
    return tuple(column[0].as_py() for column in batch.columns)
