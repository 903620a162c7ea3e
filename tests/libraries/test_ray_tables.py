"""Rows of Ray on their way into a table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import ray
import ray.data

from mlpools.data import DataConnector
from mlpools.data.writers.tables import write_delta, write_sql


def test_a_ray_dataset_is_streamed_into_tables(tmp_path: Path) -> None:
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = DataConnector.from_ray_dataset(ray.data.from_arrow(pa.table({"a": range(100)})).repartition(4))
        uri = f"duckdb://{tmp_path}/d.duckdb"
        assert write_sql(rows, uri, "t", mode="create") == 100
        assert write_delta(rows, str(tmp_path / "lake")) == 100
    finally:
        ray.shutdown()
    written = DataConnector.from_sql("SELECT sum(a)::BIGINT AS total FROM t", uri).to_arrow()
    assert written["total"].to_pylist() == [sum(range(100))]
    assert DataConnector.from_delta(str(tmp_path / "lake")).num_rows == 100
