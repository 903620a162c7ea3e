"""Statistics gathered table by table are those of the whole column."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.dataset.statistics import ColumnStatistics, Statistics


def gather(values: list[Any], kind: pa.DataType, pieces: int = 3) -> ColumnStatistics:
    table = pa.table({"x": pa.array(values, kind)})
    statistics = Statistics(table.schema)
    step = max(1, math.ceil(len(values) / pieces))
    for start in range(0, len(values), step):
        statistics.update(table.slice(start, step))
    result = statistics.result()["x"]
    assert ColumnStatistics.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result
    return result


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.none() | st.floats(-1e9, 1e9) | st.sampled_from([math.nan, math.inf])),
    pieces=st.integers(1, 5),
)
def test_floats(values: list[float | None], pieces: int) -> None:
    found = gather(values, pa.float64(), pieces)
    there = [value for value in values if value is not None]
    finite = np.array([value for value in there if math.isfinite(value)])
    assert (found.count, found.nulls) == (len(there), len(values) - len(there))
    assert found.non_finite == len(there) - len(finite)
    if not len(finite):
        assert (found.min, found.max, found.mean, found.std) == (None, None, None, None)
        return
    assert (found.min, found.max) == (finite.min(), finite.max())
    assert found.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-6)
    assert found.std == pytest.approx(finite.std(), rel=1e-6, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([3, None, 2**62, 2**62], pa.int64(), {"count": 3, "nulls": 1, "min": 3, "max": 2**62}),
        ([True, False, None, True], pa.bool_(), {"min": False, "max": True, "mean": pytest.approx(2 / 3)}),
        (["b", "a" * 99, None], pa.string(), {"count": 2, "min": "a" * 64, "max": "b", "mean": None}),
        (["b", "a", "b"], pa.dictionary(pa.int8(), pa.string()), {"min": "a", "max": "b", "count": 3}),
        (
            [datetime.datetime(2020, 1, 2), datetime.datetime(2019, 1, 1)],
            pa.timestamp("us"),
            {"min": "2019-01-01T00:00:00", "max": "2020-01-02T00:00:00", "mean": None},
        ),
        (
            [decimal.Decimal("1.50"), decimal.Decimal("-2")],
            pa.decimal128(9, 2),
            {"min": "-2.00", "max": "1.50"},
        ),
        ([[1, 2], None], pa.list_(pa.int64()), {"count": 1, "nulls": 1, "min": None}),
        ([None, None], pa.null(), {"count": 0, "nulls": 2, "max": None}),
        ([b"\x00\xff"], pa.binary(), {"count": 1, "min": None}),
        ([1e300, -1e300] * 3, pa.float64(), {"mean": 0.0, "std": None}),
    ],
)
def test_other_types(values: list[Any], kind: pa.DataType, expected: dict[str, Any]) -> None:
    found = gather(values, kind)
    assert {name: getattr(found, name) for name in expected} == expected
