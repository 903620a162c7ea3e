"""Filters: what they keep is what SQL keeps, and what statistics rule out has no row to keep."""

from __future__ import annotations

import datetime
import decimal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.filters import parse
from mlpools.data.formats import Bounds
from mlpools.errors import InvalidSpec

SCHEMA = pa.schema(
    {"n": pa.int32(), "f": pa.float64(), "t": pa.string(), "b": pa.bool_(), "d": pa.date32(), "m": pa.int64()}
)
DATABASE = duckdb.connect()
DAY = datetime.date(2024, 1, 1)
NUMBERS = st.integers(-3, 3)
TEXTS = st.sampled_from(["a", "ab", "b", "B", ""])


def cells(values: st.SearchStrategy[object], rows: int) -> st.SearchStrategy[list[object]]:
    return st.lists(st.none() | values, min_size=rows, max_size=rows)


tables = st.integers(1, 6).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            "n": cells(NUMBERS, rows),
            "f": cells(st.sampled_from([-1.5, 0.0, 2.0, 2.5]), rows),
            "t": cells(TEXTS, rows),
            "b": cells(st.booleans(), rows),
            "d": cells(st.dates(DAY, DAY + datetime.timedelta(3)), rows),
            "m": cells(NUMBERS, rows),
        }
    ).map(lambda columns: pa.table(columns, SCHEMA))
)
signs = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
literals = {
    "n": NUMBERS.map(str) | st.sampled_from(["1.5", "3000000000"]),
    "f": st.sampled_from(["-1.5", "2", "2.0", "0"]),
    "t": TEXTS.map(lambda text: f"'{text}'"),
    "d": st.integers(0, 4).map(lambda day: f"'{DAY + datetime.timedelta(day)}'"),
}
simple = st.one_of(
    *(st.builds("{} {} {}".format, st.just(name), signs, values) for name, values in literals.items()),
    *(st.builds("{1} {0} {2}".format, signs, values, st.just(name)) for name, values in literals.items()),
    *(
        st.builds(
            "{} {} ({})".format,
            st.just(name),
            st.sampled_from(["in", "not in"]),
            st.lists(values, min_size=1, max_size=3).map(", ".join),
        )
        for name, values in literals.items()
    ),
    st.builds("{} is {}".format, st.sampled_from(SCHEMA.names), st.sampled_from(["null", "not null"])),
    st.builds("n between {} and {}".format, NUMBERS, NUMBERS),
    st.sampled_from(["b", "not b", "b = false", "n < m", "n = m", "t like 'a%'", "t ilike 'b_'"]),
)
conditions = st.recursive(
    simple,
    lambda inner: (
        st.builds("({}) and ({})".format, inner, inner)
        | st.builds("({}) or ({})".format, inner, inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=4,
)


def bounds_of(table: pa.Table, name: str) -> Bounds:
    low_high = pc.min_max(table[name]).as_py()
    return Bounds(low_high["min"], low_high["max"], table[name].null_count, table.num_rows)


@settings(deadline=None, max_examples=80)
@given(tables, conditions)
def test_the_rows_kept_are_those_that_sql_keeps(table: pa.Table, text: str) -> None:
    kept = table.filter(parse(text).expression(SCHEMA))
    DATABASE.register("t", table)
    expected = DATABASE.sql(f"select * from t where {text}").to_arrow_table()
    assert kept.to_pylist() == expected.to_pylist()


@settings(deadline=None, max_examples=80)
@given(tables, conditions)
def test_statistics_rule_out_only_what_has_no_row(table: pa.Table, text: str) -> None:
    predicate = parse(text)
    outcomes = predicate.outcomes(SCHEMA, lambda name: bounds_of(table, name))
    kept = table.filter(predicate.expression(SCHEMA)).num_rows
    if True not in outcomes:
        assert kept == 0
    if outcomes == {True}:
        assert kept == table.num_rows
    assert predicate.outcomes(SCHEMA, lambda name: None) >= outcomes


def outcomes(text: str, **bounds: Bounds) -> frozenset[bool | None]:
    return parse(text).outcomes(SCHEMA, bounds.get)


def test_statistics_rule_out_what_they_can() -> None:
    n = Bounds(10, 20, nulls=0, rows=5)
    assert outcomes("n > 20", n=n) == outcomes("n = 9", n=n) == outcomes("n in (1, 30)", n=n) == {False}
    assert outcomes("n >= 10", n=n) == outcomes("n is not null", n=n) == {True}
    assert outcomes("n > 20 or m > 1", n=n) == {True, False, None}
    assert outcomes("n > 20 and m > 1", n=n) == {False}
    assert outcomes("n > 1", n=Bounds(None, None, nulls=5, rows=5)) == {None}
    assert outcomes("n is null", n=n) == {False}
    assert outcomes("t = 'z'", t=Bounds("a", "b", nulls=None, rows=5)) == {False, None}
    assert outcomes("d < '2024-01-01'", d=Bounds(DAY, DAY, 0, 1)) == {False}


def test_nan_is_not_in_the_statistics() -> None:
    same = Bounds(2.0, 2.0, nulls=0, rows=5)
    assert outcomes("f <> 2", f=same) == outcomes("f = 2", f=same) == {True, False}
    assert outcomes("f > 3", f=Bounds(float("nan"), float("nan"), 0, 5)) == {True, False}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n + 1 > 2", "'n \\+ 1 > 2'"),
        ("lower(t) = 'a'", "LOWER"),
        ("n = null", "nothing equals null"),
        ("n > 1; drop table t", "one condition"),
        ("n >", "near '>'"),
        ("n is true", "'n IS TRUE'"),
        ("a.n = 1", "'a.n'"),
        ("1 = 1", "'1 = 1'"),
        ("n in (select 1)", "SELECT"),
        ("n between m and 3", "'m'"),
        ("case when b then 1 end", "CASE"),
    ],
)
def test_what_is_no_condition_over_columns_and_literals_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as refusal:
        parse(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n = '5'", "column 'n', which is int32, with '5'"),
        ("t = 5", "column 't', which is string, with 5"),
        ("d > 'tomorrow'", "'tomorrow', which is no date32"),
        ("t > n", "cannot be compared"),
        ("n like 'a%'", "column 'n', which is int32, with 'a%'"),
    ],
)
def test_what_cannot_be_compared_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        parse(text).expression(SCHEMA)


def test_literals_take_the_column_s_type() -> None:
    berlin = pa.timestamp("ms", "Europe/Berlin")
    table = pa.table(
        {
            "dep time": pa.array([1, 2]),
            "half": pa.array([1.0, 2.0], pa.float16()),
            "single": pa.array([0.1, 0.2], pa.float32()),
            "money": pa.array([decimal.Decimal("1.10"), decimal.Decimal("2.20")]),
            "code": pa.array(["x", "y"]).dictionary_encode(),
            "when": pa.array([0, 3_600_000], pa.timestamp("ms", "UTC")).cast(berlin),
            "large": pa.array([2**63, 5], pa.uint64()),
            "raw": pa.array([b"x", b"y"]),
        }
    )
    for text, kept in {
        '"dep time" = 2': 1,
        "half > 1.5": 1,
        "single = 0.1": 1,
        "money <= 1.1": 1,
        "code in ('y', 'z')": 1,
        "\"when\" = '1970-01-01 01:00:00'": 1,
        "\"when\" = timestamp '1970-01-01T01:00:00+01:00'": 1,
        "large > -1": 2,
        "large >= 9223372036854775808": 1,
        "raw = 'x'": 1,
    }.items():
        assert table.filter(parse(text).expression(table.schema)).num_rows == kept, text
