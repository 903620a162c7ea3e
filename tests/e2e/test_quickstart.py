"""`make run` on a cluster of the tests' own, and what it promises about the trained model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from tests.support.training import Object
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl
from tools.quickstart import data
from tools.quickstart.follow import condition

JOB = "arrival-delay"
LABEL = "arr_delay"
PARAMS = {"max_depth": 8, "eta": 0.1, "objective": "reg:squarederror", "nthread": 2}


@dataclass(frozen=True)
class Run:
    """One `make run`.

    Attributes:
        screen: all that a person saw.
        percents: progress that `kubectl get` showed while it ran, without repetitions.
        job: the TrainingJob at the end.
        output: its output as a folder of this machine.
    """

    screen: str
    percents: list[float]
    job: Object
    output: Path

    @property
    def result(self) -> Object:
        result: Object = json.loads((self.output / "result.json").read_text())
        return result


@pytest.fixture(scope="module")
def run(
    instance: Instance, cluster: Kubectl, volume: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    screen = tmp_path_factory.mktemp("run") / "screen"
    percents: list[float] = []
    command = [
        sys.executable,
        "-m",
        "tools.quickstart",
        "--name",
        instance.name,
        "--state",
        str(instance.state),
    ]
    with screen.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        while process.poll() is None:
            job = cluster.get("trainingjob", JOB) or {}
            percent = job.get("status", {}).get("progress", {}).get("percent")
            if percent is not None and percent not in percents[-1:]:
                percents.append(percent)
    assert process.returncode == 0, screen.read_text()
    yield Run(screen.read_text(), percents, cluster.get("trainingjob", JOB) or {}, volume / "models" / JOB)
    cluster.delete("trainingjob", JOB)


def frames(flights: data.Flights) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both sets with one common list of categories per column, which is what all ranks agree on."""
    parts = [pq.read_table(flights.folder / part).to_pandas() for part in ("train", "eval")]
    for name in parts[0].select_dtypes("category").columns:
        values = sorted({str(value) for part in parts for value in part[name].dropna().unique()})
        for part in parts:
            part[name] = pd.Categorical(part[name].astype(str), categories=values)
    return parts[0], parts[1]


@pytest.mark.e2e(seconds=150)
def test_quickstart_trains_a_model_and_tells_what_it_did(run: Run, flights: data.Flights) -> None:
    status = run.job["status"]
    assert condition(status, "Complete")["status"] == "True"
    assert status["phase"] == "Succeeded"
    assert f"{status['metrics']['eval-rmse']:.2f} minutes" in run.screen
    assert f"{flights.naive_rmse:.2f}" in run.screen
    assert status["output"]["modelURL"] in run.screen
    assert "kubectl get mlpools" in run.screen
    assert "node1" in run.screen
    assert "node2" in run.screen


@pytest.mark.e2e(seconds=5)
def test_kubectl_shows_progress_rising(run: Run) -> None:
    assert run.percents == sorted(run.percents)
    assert len(run.percents) >= 3, run.percents


@pytest.mark.e2e(seconds=5)
def test_every_tree_has_seen_every_row(run: Run, flights: data.Flights) -> None:
    trees = xgb.Booster(model_file=run.output / "model.ubj").trees_to_dataframe()
    roots = trees[trees["Node"] == 0]
    assert len(roots) > 50
    assert set(roots["Cover"]) == {float(flights.train_rows)}


@pytest.mark.e2e(seconds=30)
def test_the_model_is_as_good_as_plain_xgboost_on_all_rows(run: Run, flights: data.Flights) -> None:
    train, held_out = frames(flights)
    matrix = xgb.QuantileDMatrix(train.drop(columns=LABEL), train[LABEL], enable_categorical=True)
    evaluation = xgb.QuantileDMatrix(
        held_out.drop(columns=LABEL), held_out[LABEL], ref=matrix, enable_categorical=True
    )
    history: dict[str, dict[str, list[float]]] = {}
    xgb.train(
        PARAMS, matrix, 200, evals=[(evaluation, "eval")], early_stopping_rounds=20,
        evals_result=history, verbose_eval=False,
    )  # fmt: skip
    ours = run.job["status"]["metrics"]["eval-rmse"]
    assert ours == pytest.approx(min(history["eval"]["rmse"]), rel=0.01)
    assert ours < 0.5 * flights.naive_rmse


@pytest.mark.e2e(seconds=5)
def test_the_reported_metric_is_the_models_own(run: Run, flights: data.Flights) -> None:
    booster = xgb.Booster(model_file=run.output / "model.ubj")
    _, held_out = frames(flights)
    predicted = booster.predict(
        xgb.DMatrix(held_out.drop(columns=LABEL), enable_categorical=True),
        iteration_range=(0, int(booster.attr("best_iteration") or booster.num_boosted_rounds() - 1) + 1),
    )
    rmse = float(np.sqrt(np.mean((held_out[LABEL].to_numpy() - predicted) ** 2)))
    assert run.job["status"]["metrics"]["eval-rmse"] == pytest.approx(rmse, rel=1e-4)
