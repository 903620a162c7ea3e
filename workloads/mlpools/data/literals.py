"""Which literals a column of a type can be compared with, and as which Arrow values."""

from __future__ import annotations

import dataclasses
import decimal
from collections.abc import Callable, Sequence
from typing import Any
from typing import Literal as OneOf

import pyarrow as pa
import pyarrow.compute as pc

from mlpools.errors import InvalidSpec


@dataclasses.dataclass(frozen=True)
class Literal:
    """A value as it was written.

    Attributes:
        kind: how it was written.
        text: without quotes.
    """

    kind: OneOf["text", "number", "boolean", "pattern"]
    text: str

    def __str__(self) -> str:
        return f"'{self.text}'" if self.kind in {"text", "pattern"} else self.text


def comparable(field: pa.Field, literals: Sequence[Literal]) -> tuple[pc.Expression, list[pa.Scalar]]:
    """Return a column and literals in one type, so that they can be compared.

    A literal takes the column's type where that holds it: ``x = 0.1`` finds the float32 nearest to 0.1.
    Text becomes a date or time beside a column of those; without a zone it is UTC.

    Raises:
        InvalidSpec: a literal is of another kind than the column.
    """
    kind = _plain(field.type)
    for literal in literals:
        if literal.kind not in _kinds_for(kind):
            raise _refusal(field, literal, "which is of another kind")
    column = comparable_field(field)
    if pa.types.is_integer(kind):
        return _integers(column, kind, literals)
    convert = _converter(kind)
    values = []
    for literal in literals:
        try:
            values.append(convert(literal.text))
        except (ValueError, ArithmeticError, pa.ArrowException) as error:
            raise _refusal(field, literal, f"which is no {kind}") from error
    return column, values


def comparable_field(field: pa.Field) -> pc.Expression:
    """Return a column in a form that Arrow can compare: values of a dictionary, wide floats."""
    kind = _plain(field.type)
    column = pc.field(field.name)
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    return column if kind == field.type else column.cast(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _kinds_for(kind: pa.DataType) -> frozenset[str]:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return frozenset({"number"})
    if pa.types.is_boolean(kind):
        return frozenset({"boolean"})
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return frozenset({"text", "pattern"})
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return frozenset({"text"})
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return frozenset({"text"})
    return frozenset()


def _integers(
    column: pc.Expression, kind: pa.DataType, literals: Sequence[Literal]
) -> tuple[pc.Expression, list[pa.Scalar]]:
    """Compare as integers if all literals are such of the column's width, else as floats."""
    try:
        return column, [pa.scalar(int(literal.text), kind) for literal in literals]
    except (ValueError, OverflowError, pa.ArrowException):
        wide = column.cast(pa.float64(), safe=False)
        return wide, [pa.scalar(float(literal.text), pa.float64()) for literal in literals]


def _converter(kind: pa.DataType) -> Callable[[str], pa.Scalar]:
    if pa.types.is_floating(kind):
        wide = pa.float32() if pa.types.is_float16(kind) else kind
        return lambda text: pa.scalar(float(text), wide)
    if pa.types.is_decimal(kind):
        return lambda text: pa.scalar(decimal.Decimal(text))
    if pa.types.is_boolean(kind):
        return lambda text: pa.scalar(text == "true")
    if pa.types.is_timestamp(kind):
        return lambda text: _timestamp(text, kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return lambda text: pa.scalar(text.encode(), kind)
    return lambda text: pa.scalar(text).cast(kind)


def _timestamp(text: str, kind: pa.DataType) -> pa.Scalar:
    unit = "ns" if kind.unit == "ns" else "us"
    value: Any = pa.scalar(text)
    if not kind.tz:
        return value.cast(pa.timestamp(unit))
    try:
        return value.cast(pa.timestamp(unit, kind.tz))
    except pa.ArrowInvalid:  # no zone in the text
        return (
            value.cast(pa.timestamp(unit)).cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, kind.tz))
        )


def _refusal(field: pa.Field, literal: Literal, why: str) -> InvalidSpec:
    return InvalidSpec(
        f"The filter compares column {field.name!r}, which is {field.type}, with {literal}, {why}."
    )
