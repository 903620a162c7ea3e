"""A rank's rows are in memory until they are binned, and no longer."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.data.columns import Columns
from mlpools.data.connector import DataConnector
from mlpools.data.shard import ShardRows
from mlpools.train.xgboost.matrix import Batches, build
from mlpools.train.xgboost.parameters import Parameters


def test_the_rows_are_forgotten_once_they_are_binned(tmp_path: Path) -> None:
    x = np.arange(1000.0, dtype=np.float32)
    pq.write_table(pa.table({"x": x, "label": x > 500}), tmp_path / "rows.parquet", row_group_size=100)
    rows = ShardRows(DataConnector.from_parquet(str(tmp_path)), ["x", "label"], keep=True, alive=lambda: None)
    parameters = Parameters.from_spec(
        {"rounds": 1, "objective": "binary:logistic", "params": {}, "label": "label"}, threads=1, device="cpu"
    )
    before = pa.total_allocated_bytes()
    gc.disable()  # XGBoost's callbacks hold the batches in a cycle
    try:
        batches = Batches(rows, Columns(("x",), ("float",), "label"), parameters, "train")
        matrix = build(batches, parameters, None)
        assert pa.total_allocated_bytes() > before
        batches.close()
        assert pa.total_allocated_bytes() == before
    finally:
        gc.enable()
    assert (matrix.num_row(), matrix.get_label().sum()) == (1000, 499.0)
