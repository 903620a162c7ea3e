"""``run_batch`` whose workers are spread over a Ray cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data.writers import commit
from mlpools.errors import ModelMismatch
from mlpools.inference import InferenceSpec, InputSpec, OutputSpec, ResourcesSpec, SaveMode, run_batch
from mlpools.storage import locate
from tests.support.ray_nodes import two_nodes

ROWS = 400
ONE_CPU = ResourcesSpec(cpu_requests=1)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with two_nodes():
        yield


@pytest.fixture
def rows(tmp_path: Path) -> str:
    pq.write_table(pa.table({"x": range(ROWS)}), tmp_path / "rows.parquet", row_group_size=20)
    return str(tmp_path / "rows.parquet")


def test_the_nodes_share_the_work_and_a_lost_worker_costs_its_shards_in_hand(
    rows: str, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    told.mkdir()

    def predict(batch: pd.DataFrame) -> pd.Series:
        rank = os.environ["RANK"]
        if rank == "1" and not (told / "lost").exists():
            (told / "lost").touch()
            os.kill(os.getppid(), signal.SIGKILL)  # the worker that keeps this process
        while not (told / "lost").exists():
            time.sleep(0.01)
        return batch["x"] * 2

    output = OutputSpec(str(tmp_path / "out"), keep=("x",))
    how = InferenceSpec(num_workers=2, shard_rows=20)
    result = run_batch(predict, rows, output, inference_spec=how, resources_spec=ONE_CPU)
    assert (result.rows, result.shards, result.failed) == (ROWS, 20, ())
    commit.verify(locate(result.url), commit.read_manifest(locate(result.url)))
    table = result.to_connector().to_arrow()
    assert table.to_pydict() == {"x": list(range(ROWS)), "prediction": [2 * x for x in range(ROWS)]}


def test_rows_and_model_may_be_in_memory_and_what_does_not_fit_is_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(100.0), "b": 1.0})
    output = OutputSpec(str(tmp_path / "out"), mode=SaveMode.OVERWRITE)
    result = run_batch(lambda batch: batch["a"] + batch["b"], frame, output, resources_spec=ONE_CPU)
    assert result.to_connector().to_arrow().column("prediction").to_pylist() == list(np.arange(1.0, 101.0))
    wrong = InputSpec(features=["aa"])
    with pytest.raises(ModelMismatch, match="feature 'aa' of the Python model is not in the input"):
        run_batch(lambda batch: batch["aa"], frame, output, input_spec=wrong, resources_spec=ONE_CPU)
    assert result.to_connector().to_arrow().num_rows == 100  # the old result stays
