"""What a data set's columns hold, gathered while its rows are written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Longer texts are cut in minimum and maximum.
_SHOWN_TEXT = 64


@dataclasses.dataclass(frozen=True)
class ColumnStatistics:
    """One column.

    Attributes:
        count: values that are there.
        nulls: values that are not.
        non_finite: of the values, how many are NaN or infinite; the numbers below leave them out.
        min: smallest value: a number, or text for texts, times and decimals. None where there is no order.
        max: largest value.
        mean: of numbers, and the share of true; None for others.
        std: of numbers, over all of them (not a sample's).
    """

    count: int
    nulls: int
    non_finite: int = 0
    min: Any = None
    max: Any = None
    mean: float | None = None
    std: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return only what there is, in JSON's types."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` made."""
        return cls(**raw)


class Statistics:
    """Gathers the statistics of all columns, table by table."""

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = {field.name: _Column(field.type) for field in schema}

    def update(self, rows: pa.Table) -> None:
        """Add rows."""
        for name, column in self._columns.items():
            column.update(rows.column(name))

    def result(self) -> dict[str, ColumnStatistics]:
        """Return what was found, by column."""
        return {name: column.result() for name, column in self._columns.items()}


class _Column:
    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        self._numbers = _is_number(self._kind)
        self._ordered = self._numbers or _has_order(self._kind)
        self._count = self._nulls = self._non_finite = 0
        self._min: Any = None
        self._max: Any = None
        self._mean = self._squares = 0.0

    def update(self, values: pa.ChunkedArray) -> None:
        self._nulls += values.null_count
        values = values.drop_null()
        self._count += len(values)
        if pa.types.is_dictionary(values.type):
            values = values.cast(self._kind)
        if pa.types.is_floating(self._kind):
            finite = values.filter(pc.is_finite(values))
            self._non_finite += len(values) - len(finite)
            values = finite
        if not len(values) or not self._ordered:
            return
        ends = pc.min_max(values)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        self._min = low if self._min is None else min(self._min, low)
        self._max = high if self._max is None else max(self._max, high)
        if self._numbers:
            self._add_moments(values.cast(pa.float64(), safe=False).to_numpy())

    def _add_moments(self, values: np.ndarray) -> None:
        """Join mean and sum of squares with those so far (Chan, Golub, LeVeque: no cancellation)."""
        before = self._count - self._non_finite - len(values)
        total = before + len(values)
        mean = float(values.mean())
        step = mean - self._mean
        self._mean += step * len(values) / total
        with np.errstate(over="ignore"):  # of huge numbers: infinite, and left out of the result
            variance = float(values.var())
        self._squares += variance * len(values) + step * step * before * len(values) / total

    def result(self) -> ColumnStatistics:
        finite = self._count - self._non_finite
        moments = self._numbers and finite > 0
        return ColumnStatistics(
            count=self._count,
            nulls=self._nulls,
            non_finite=self._non_finite,
            min=_plain(self._min),
            max=_plain(self._max),
            mean=_number(self._mean) if moments else None,
            std=_number(math.sqrt(self._squares / finite)) if moments else None,
        )


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _has_order(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_decimal(kind)
        or types.is_date(kind)
        or types.is_timestamp(kind)
        or types.is_time(kind)
    )


def _plain(value: Any) -> Any:
    """Return a value in JSON's types."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)[:_SHOWN_TEXT]


def _number(value: float) -> float | None:
    """Return what JSON can hold: the squares of huge numbers are infinite."""
    return value if math.isfinite(value) else None
