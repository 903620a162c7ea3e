from __future__ import annotations

import datetime
import sqlite3
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.data.sql.partitions import cuts, literal, predicates, quoted

_DAY = datetime.date(2020, 1, 1)


@given(
    values=st.lists(st.none() | st.integers(-(2**62), 2**62) | st.floats(-1e300, 1e300), min_size=1),
    count=st.integers(1, 9),
)
def test_every_row_is_in_exactly_one_partition(values: list[float | None], count: int) -> None:
    known = [value for value in values if value is not None]
    borders = cuts(type(known[0])(min(known)), type(known[0])(max(known)), count) if known else []
    conditions = predicates(quoted('a "b"'), borders)
    database = sqlite3.connect(":memory:")
    database.execute('CREATE TABLE t (id INTEGER, "a ""b""")')
    database.executemany("INSERT INTO t VALUES (?, ?)", enumerate(values))
    found = [
        row[0]
        for condition in conditions
        for row in database.execute(f"SELECT id FROM t WHERE {condition or '1 = 1'}")
    ]
    database.close()
    assert sorted(found) == list(range(len(values)))
    assert len(conditions) <= count


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [25, 50, 75]),
        (0, 3, [1, 2]),
        (5, 5, []),
        (0.0, 1.0, [0.25, 0.5, 0.75]),
        (Decimal(0), Decimal(4), [Decimal(1), Decimal(2), Decimal(3)]),
        (_DAY, _DAY + datetime.timedelta(4), [_DAY + datetime.timedelta(i) for i in (1, 2, 3)]),
        (
            datetime.datetime(2020, 1, 1),
            datetime.datetime(2020, 1, 1, 4),
            [datetime.datetime(2020, 1, 1, i) for i in (1, 2, 3)],
        ),
    ],
)
def test_borders_cut_evenly(low: Any, high: Any, expected: list[Any]) -> None:
    assert cuts(low, high, 4) == expected


def test_nulls_are_in_the_first_partition() -> None:
    assert predicates('"a"', [1, 2]) == ['"a" < 1 OR "a" IS NULL', '"a" >= 1 AND "a" < 2', '"a" >= 2']


@pytest.mark.parametrize(
    "value",
    [
        -3,
        1.5e-300,
        Decimal("12.50"),
        _DAY,
        datetime.datetime(2020, 1, 1, 2, 3, 4, 5),
        datetime.datetime(2020, 1, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    ],
)
def test_a_database_reads_a_literal_as_it_was_meant(value: Any) -> None:
    (row,) = duckdb.execute(f"SELECT {literal(value)} = ?", [value]).fetchall()
    assert row == (True,)
