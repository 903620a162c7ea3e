"""Which rows of a query each reader takes: ranges of one column that miss nothing and share nothing; pure."""

from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Sequence
from typing import Any

#: What a column is cut by: numbers, dates and times.
Bound = int | float | decimal.Decimal | datetime.date | datetime.datetime


def cuts(low: Bound, high: Bound, count: int) -> list[Bound]:
    """Return up to ``count - 1`` inner borders of about equal ranges, ascending and different.

    Args:
        low: the least value.
        high: the greatest one; of the same type.
        count: how many ranges there should be; of a narrow column there are fewer.
    """
    if not low < high:  # type: ignore[operator]
        return []
    return list(
        dict.fromkeys(border for i in range(1, count) if low < (border := _between(low, high, i, count)))
    )


def predicates(column: str, borders: Sequence[Bound]) -> list[str]:
    """Return a SQL condition for each range; together they hold for every row exactly once.

    The outer ranges are open, so nothing hangs on how exactly a border is written. NULL is in the first.

    Args:
        column: quoted.
        borders: from ``cuts``.
    """
    if not borders:
        return [""]
    texts = [literal(border) for border in borders]
    inner = [f"{column} >= {a} AND {column} < {b}" for a, b in itertools.pairwise(texts)]
    return [f"{column} < {texts[0]} OR {column} IS NULL", *inner, f"{column} >= {texts[-1]}"]


def literal(value: Bound) -> str:
    """Return a value as standard SQL writes it."""
    if isinstance(value, datetime.datetime):
        kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMP WITH TIME ZONE"
        return f"{kind} '{value.isoformat(sep=' ')}'"
    if isinstance(value, datetime.date):
        return f"DATE '{value.isoformat()}'"
    return repr(value) if isinstance(value, float) else str(value)


def quoted(name: str) -> str:
    """Return an identifier as standard SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def _between(low: Any, high: Any, i: int, count: int) -> Any:
    if isinstance(low, float):
        return low + (high - low) * (i / count)
    if isinstance(low, datetime.date) and not isinstance(low, datetime.datetime):
        return low + datetime.timedelta(days=(high - low).days * i // count)
    if isinstance(low, int):
        return low + (high - low) * i // count
    return low + (high - low) * i / count
