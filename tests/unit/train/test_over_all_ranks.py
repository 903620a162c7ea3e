"""Metrics and models do not depend on how rows fall to ranks, by label, by a feature, or by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from mlpools.errors import BadHyperParameter
from mlpools.train.trees import metrics as areas
from mlpools.train.trees.hooks import Hooks
from mlpools.train.trees.metrics import check_metric
from tests.support.many_ranks import train
from tests.support.pods import read_history, read_json, task


def rows(count: int, seed: int, *, classes: int = 2) -> pa.Table:
    rng = np.random.default_rng(seed)
    strong, weak = rng.normal(size=count), rng.normal(size=count)
    noise = rng.logistic(size=count)
    label = np.clip(np.floor((2 * strong + np.sin(3 * weak) + noise) / 3 + classes / 2), 0, classes - 1)
    return pa.table({"strong": strong, "weak": weak, "y": label.astype(np.int8)})


def write(folder: Path, by: str, *, train_rows: int, eval_rows: int = 1_500, classes: int = 2) -> Any:
    """Write both sets sorted by a column; two ranks get halves."""
    folder.mkdir(parents=True)
    for name, count, seed in (("train", train_rows, 0), ("eval", eval_rows, 1)):
        table = rows(count, seed, classes=classes)
        table = table.sort_by(by) if by else table
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=max(1, count // 8))
    return {name: {"parquet": {"url": str(folder / f"{name}.parquet")}} for name in ("train", "eval")}


def spec(**changes: Any) -> dict[str, Any]:
    base = {
        "rounds": 25,
        "objective": "binary:logistic",
        "params": {"max_depth": 4, "eta": 0.2},
        "evalMetrics": ["aucpr", "logloss", "auc"],
        "label": "y",
    }
    return {**base, **changes}


def run(folder: Path, nodes: int, data: Any, section: dict[str, Any], hooks: Hooks | None = None) -> Any:
    train(task(folder, nodes=nodes, spec=section, data=data), lambda _: hooks or Hooks())
    return {**read_json(folder / "result.json"), "history": read_history(folder)}


def said_by_xgboost(folder: Path, section: dict[str, Any], rounds: int) -> dict[str, float]:
    """Return the metrics of the saved model by plain XGBoost on all rows of the set ``eval``."""
    booster = xgb.Booster(model_file=str(folder / "out/model.ubj"))[:rounds]
    table = pq.read_table(folder / "data/eval.parquet")
    matrix = xgb.DMatrix(table.select(["strong", "weak"]), label=table["y"].to_numpy())
    booster.set_param([("eval_metric", name) for name in section["evalMetrics"]])
    said = booster.eval(matrix, "eval").split("\t")[1:]
    return {item.rpartition(":")[0].removeprefix("eval-"): float(item.rpartition(":")[2]) for item in said}


@pytest.mark.parametrize("by", ["y", "strong"])
def test_two_ranks_are_as_good_as_one_on_sorted_rows(tmp_path: Path, by: str) -> None:
    """Sorted by label, each rank has one class; by the best feature, each knows a half of its range."""
    data = write(tmp_path / "data", by, train_rows=40_000, eval_rows=10_000)
    one = run(tmp_path / "one", 1, data, spec())["metrics"]["eval"]
    two = run(tmp_path / "two", 2, data, spec())["metrics"]["eval"]
    assert one["auc"] > 0.75
    assert two == {name: pytest.approx(value, abs=1e-3) for name, value in one.items()}


def test_the_same_ranks_make_the_same_bytes(tmp_path: Path) -> None:
    """Also where chance has a part: rows and columns are sampled by the seed."""
    data = write(tmp_path / "data", "y", train_rows=2_000)
    section = spec(rounds=8, params={"subsample": 0.5, "colsample_bytree": 0.5, "seed": 3})
    models = []
    for name in ("first", "second"):
        run(tmp_path / name, 2, data, section)
        models.append((tmp_path / name / "model.ubj").read_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize(
    "changes",
    [{}, {"objective": "multi:softprob", "params": {"num_class": 3}, "evalMetrics": ["aucpr", "auc"]}],
    ids=["two classes", "three classes"],
)
def test_areas_are_those_of_the_model_over_all_rows(tmp_path: Path, changes: dict[str, Any]) -> None:
    """On rows sorted by label: the first rank has one class only."""
    section = spec(rounds=6, **changes)
    classes = section["params"].get("num_class", 2)
    data = write(tmp_path / "data", "y", train_rows=900, eval_rows=1_500, classes=classes)
    found = run(tmp_path / "out", 2, data, section)
    for name, value in said_by_xgboost(tmp_path, section, 6).items():
        assert found["history"][f"eval-{name}"][-1] == pytest.approx(value, abs=1e-5)


def test_a_rank_without_rows_and_a_set_of_one_class_hinder_nobody(tmp_path: Path) -> None:
    data = write(tmp_path / "data", "", train_rows=900, eval_rows=1)
    found = run(tmp_path / "out", 2, data, spec(rounds=6))
    assert [rank["data"]["eval"]["rows"] for rank in found["ranks"]] in ([1, 0], [0, 1])
    assert found["history"]["eval-auc"] == [None] * 6  # no curve can be drawn
    booster = xgb.Booster(model_file=str(tmp_path / "out/model.ubj"))
    table = pq.read_table(tmp_path / "data/eval.parquet")
    [predicted] = booster.predict(xgb.DMatrix(table.select(["strong", "weak"])))
    right = predicted if table["y"][0].as_py() else 1 - predicted
    assert found["history"]["eval-logloss"][-1] == pytest.approx(-np.log(right), rel=1e-5)


def test_the_last_metric_decides_about_stopping_whoever_computes_it(tmp_path: Path) -> None:
    data = write(tmp_path / "data", "y", train_rows=1_500)
    section = spec(
        rounds=60, earlyStoppingRounds=4, params={"max_depth": 2, "eta": 0.3}, evalMetrics=["logloss", "auc"]
    )
    out = run(tmp_path / "out", 2, data, section)
    curve = out["history"]["eval-auc"]
    assert out["bestRound"] == int(np.argmax(curve)) + 1 == out["rounds"] - 4
    assert out["bestRound"] != int(np.argmin(out["history"]["eval-logloss"])) + 1


def spread_of_wrong(predictions: np.ndarray, matrix: xgb.DMatrix) -> tuple[str, float]:
    """Return the highest score of a negative row less the lowest of a positive one: no mean over shards."""
    label = matrix.get_label()
    return "spread", float(predictions[label == 0].max() - predictions[label == 1].min())


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_metric_of_the_callers_sees_all_rows_at_once(tmp_path: Path, nodes: int) -> None:
    data = write(tmp_path / "data", "y", train_rows=900, eval_rows=300)
    section = spec(rounds=40, earlyStoppingRounds=2, evalMetrics=["auc"])
    out = run(tmp_path / "out", nodes, data, section, Hooks(metric=spread_of_wrong))
    curve = out["history"]["eval-spread"]
    assert out["bestRound"] == int(np.argmin(curve)) + 1 == out["rounds"] - 2  # lower is better by default
    booster = xgb.Booster(model_file=str(tmp_path / "out/model.ubj"))
    table = pq.read_table(tmp_path / "data/eval.parquet")
    matrix = xgb.DMatrix(table.select(["strong", "weak"]), label=table["y"].to_numpy())
    assert curve[-1] == pytest.approx(spread_of_wrong(booster.predict(matrix), matrix)[1], abs=1e-6)


class EndsAfter(xgb.callback.TrainingCallback):
    """Wants no further round after so many."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        return epoch + 1 == self._rounds


def test_callbacks_of_rank_0_decide_about_the_last_round(tmp_path: Path) -> None:
    """They may well differ: what each rank makes of a clock, or of chance."""
    data = write(tmp_path / "data", "", train_rows=300, eval_rows=100)
    work = task(tmp_path / "out", nodes=2, spec=spec(rounds=9), data=data)
    train(work, lambda rank: Hooks(callbacks=(EndsAfter(5 if rank == 0 else 2),)))
    assert read_json(tmp_path / "out/result.json")["rounds"] == 5


def test_a_metric_of_the_callers_is_refused_for_more_rows_than_a_rank_should_hold() -> None:
    hooks = Hooks(metric=spread_of_wrong)
    check_metric(hooks, {"train": areas.EXACT_ROWS})
    with pytest.raises(BadHyperParameter, match=r"spread_of_wrong gets all rows .* 'eval' has 10,000,001\."):
        check_metric(hooks, {"train": 10, "eval": areas.EXACT_ROWS + 1})
