"""A file with two jobs: one trains, and the other one scores with what it left, by the URL of its output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from mlpools.data.writers import commit
from mlpools.storage import locate
from tests.support.flights import write_flights
from tests.support.inferring import rows_of
from tests.support.local_runs import run_manifest
from tests.support.manifests import ABSENT, manifest

#: By framework the mean of squared errors, from the metrics that its training reports by default.
SQUARED = {"xgboost": lambda metrics: metrics["rmse"] ** 2, "lightgbm": lambda metrics: metrics["l2"]}


@pytest.mark.parametrize("framework", SQUARED)
def test_predictions_are_as_good_as_the_training_said(framework: str, tmp_path: Path) -> None:
    """That takes the model's own categories, and its best round, which is not its last one."""
    write_flights(tmp_path, 1_000)
    urls = {"train": "file:///data/train/*.parquet", "eval": "file:///data/eval.parquet"}
    section = {"label": "arr_delay", "rounds": 30, "earlyStoppingRounds": 2, "params": {"learning_rate": 0.9}}
    trains: dict[str, Any] = {
        "xgboost": ABSENT,
        framework: section,
        "data": {name: {"parquet": {"url": url}} for name, url in urls.items()},
        "nodes": 2,
    }
    scores = {
        "model.url": "file:///data/model",
        "input.parquet.url": urls["eval"],
        "output.keep": ["arr_delay"],
        "shardRows": 100,
    }
    jobs = [manifest("TrainingJob", "train", trains), manifest("BatchInference", "score", scores)]
    (tmp_path / "jobs.yaml").write_text(yaml.safe_dump_all(jobs))
    run_manifest(tmp_path / "jobs.yaml", tmp_path)

    place = locate(tmp_path / "predictions")
    commit.verify(place, commit.read_manifest(place))
    rows = rows_of(place)
    assert rows["arr_delay"].equals(pq.read_table(tmp_path / "eval.parquet")["arr_delay"])
    trained = json.loads((tmp_path / "model" / "result.json").read_text())
    errors = rows["prediction"].to_numpy() - rows["arr_delay"].to_numpy()
    assert np.mean(errors**2) == pytest.approx(SQUARED[framework](trained["metrics"]["eval"]), rel=1e-6)
    assert trained["bestRound"] < len((tmp_path / "model" / "metrics.jsonl").read_text().splitlines())
