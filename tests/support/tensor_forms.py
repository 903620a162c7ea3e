"""An array of every form of the conversion table, for the libraries that have to take them."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pyarrow as pa

from mlpools.data.tensors import TensorLayout

ROWS = pa.table(
    {
        **{str(kind): pa.array([1, 2, 3], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
        **{
            str(kind): pa.array([1, 2, 3], kind)
            for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
        },
        **{str(kind): pa.array([1, None, 3], kind) for kind in (pa.float16(), pa.float32(), pa.float64())},
        "bool": [True, False, True],
        "decimal": [decimal.Decimal("1.5"), None, decimal.Decimal("3.5")],
        "whole": pa.array([1, 2, 3], pa.decimal128(38, 0)),
        "moment": [datetime.datetime(2026, 1, day, tzinfo=datetime.UTC) for day in (1, 2, 3)],
        "pair": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2)),
        "list": [[1, 2, 3]] * 3,
    }
)
ARRAYS: dict[str, Any] = dict(TensorLayout(ROWS.schema, stack={"both": ["float", "int32"]}).convert(ROWS))
