from __future__ import annotations

import datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from mlpools.data.sql.values import Values
from mlpools.errors import DataNotReadable


def _numeric(values: list[str | None], typmod: int = -1) -> tuple[pa.Field, pa.Array]:
    kind = pa.opaque(pa.string(), "numeric", "PostgreSQL")
    field = pa.field("x", kind, metadata={"POSTGRESQL:type": "numeric", "POSTGRESQL:typmod": str(typmod)})
    return field, pa.ExtensionArray.from_storage(kind, pa.array(values, pa.string()))


def _typmod(precision: int, scale: int) -> int:
    return (precision << 16 | scale) + 4


def _converted(field: pa.Field, array: pa.Array) -> pa.Array:
    values = Values(pa.schema([field]))
    batch = values.convert(pa.RecordBatch.from_arrays([array], schema=pa.schema([field])))
    assert batch.schema.equals(values.schema)
    batch.validate(full=True)
    return batch.column(0)


def test_a_numeric_of_fixed_precision_is_exact() -> None:
    column = _converted(*_numeric(["12.30", None, "-0.01"], _typmod(10, 2)))
    assert column.type == pa.decimal128(10, 2)
    assert [value and str(value) for value in column.to_pylist()] == ["12.30", None, "-0.01"]


@pytest.mark.parametrize("typmod", [-1, _typmod(39, 2), _typmod(5, 7)])
def test_other_numerics_are_doubles(typmod: int) -> None:
    assert _converted(*_numeric(["12.5", None], typmod)).to_pylist() == [12.5, None]


def test_a_decimal_cannot_be_nan() -> None:
    with pytest.raises(DataNotReadable, match=r"'x'.*NaN.*CAST\(x AS double precision\)"):
        _converted(*_numeric(["NaN"], _typmod(5, 2)))


def test_json_and_uuid_are_texts() -> None:
    json = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None]))
    assert _converted(pa.field("x", json.type), json).to_pylist() == ['{"a": 1}', None]
    uuid = UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    array = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.bytes, None], pa.binary(16)))
    assert _converted(pa.field("x", array.type), array).to_pylist() == [str(uuid), None]


def test_lists_are_converted_inside() -> None:
    _, numbers = _numeric(["1.5", "2.5", "3.5"])
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 2, 3]), numbers, mask=pa.array([False, True, False]))
    assert _converted(pa.field("x", lists.type), lists).to_pylist() == [[1.5, 2.5], None, [3.5]]
    assert _converted(pa.field("x", lists.type), lists.slice(2)).to_pylist() == [[3.5]]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (pa.field("x", pa.opaque(pa.binary(), "inet", "PostgreSQL")), r"type inet.*CAST\(x AS text\)"),
        (pa.field("x", pa.int64(), metadata={"POSTGRESQL:type": "money"}), r"CAST\(x AS numeric\)"),
        (pa.field("x", pa.month_day_nano_interval()), r"EXTRACT\(EPOCH FROM x\)"),
        (pa.field("x", pa.struct([("a", pa.opaque(pa.binary(), "b", "PostgreSQL"))])), "has no form"),
        (pa.field("x", pa.list_(pa.opaque(pa.binary(), "point", "PostgreSQL"))), "'x'.*point"),
    ],
)
def test_what_has_no_form_is_refused_with_a_cast(field: pa.Field, words: str) -> None:
    with pytest.raises(DataNotReadable, match=words):
        Values(pa.schema([field]))


@pytest.mark.parametrize(
    "array",
    [
        pa.array([-9222425352054775809], pa.int64()).view(pa.timestamp("us")),
        pa.array([0, -9222425352054775808], pa.int64()).view(pa.timestamp("us", "UTC")),
        pa.array([(1 << 63) - 1], pa.int64()).view(pa.timestamp("us")),
        pa.array([-2147472692], pa.int32()).view(pa.date32()),
        pa.array([(1 << 31) - 1], pa.int32()).view(pa.date32()),
    ],
)
def test_infinite_dates_are_refused(array: pa.Array) -> None:
    with pytest.raises(DataNotReadable, match=r"'x' holds infinity.*NULLIF\(x, 'infinity'\)"):
        _converted(pa.field("x", array.type), array)


@pytest.mark.parametrize("value", [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), None])
def test_ordinary_times_pass(value: Any) -> None:
    array = pa.array([value], pa.timestamp("us"))
    assert _converted(pa.field("x", array.type), array) == array


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DataNotReadable, match="two columns 'a'"):
        Values(pa.schema([("a", pa.int32()), ("a", pa.int32())]))
