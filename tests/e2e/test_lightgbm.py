"""LightGBM over two nodes of a real cluster, on the flights."""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tests.support.training import Training
from tools.quickstart import data

EXAMPLE = Path("examples/lightgbm/training.yaml")


@pytest.mark.full
@pytest.mark.e2e(seconds=90)
def test_the_example_learns_from_all_flights_on_two_nodes(training: Training, flights: data.Flights) -> None:
    spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
    training.submit("lightgbm", xgboost=None, lightgbm=spec["lightgbm"], data=spec["data"])
    training.completed("lightgbm", seconds=240)
    folder = training.output("lightgbm")
    result = json.loads((folder / "result.json").read_text())
    assert result["worldSize"] == 2
    assert result["rows"] == {"train": flights.train_rows, "eval": flights.eval_rows}
    assert sum(rank["data"]["train"]["rows"] for rank in result["ranks"]) == flights.train_rows
    booster = lgb.Booster(model_file=str(folder / "model.txt"))
    trees = booster.dump_model()["tree_info"]
    assert {tree["tree_structure"]["internal_count"] for tree in trees} == {flights.train_rows}
    held_out = pq.read_table(flights.folder / "eval").to_pandas()
    error = float(np.mean((booster.predict(held_out[booster.feature_name()]) - held_out["arr_delay"]) ** 2))
    assert result["metrics"]["eval"]["l2"] == pytest.approx(error, rel=1e-4)
    assert error**0.5 < 0.5 * flights.naive_rmse
