"""Ranking within groups, and base margins: the same on many ranks as on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from mlpools.contract.ends import Exit
from mlpools.errors import BadHyperParameter, DataNotReadable
from mlpools.train.xgboost.parameters import Parameters
from tests.support.many_ranks import train
from tests.support.pods import Pods, read_history, read_json, task

QUERIES = 90


def queries(seed: int, *, spread: bool = False) -> pa.Table:
    """Return rows of queries of very different sizes, whose features have few values, sorted or not."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 40, QUERIES)
    query = np.repeat(np.arange(QUERIES), sizes)
    rows = len(query)
    good, poor = rng.integers(0, 16, rows), rng.integers(0, 16, rows)
    taste = rng.normal(size=rows) * 3
    degree = np.clip((good + taste + query % 3) // 5, 0, 3).astype(np.int32)
    table = pa.table(
        {
            "query": pa.array([f"q{number:03d}" for number in query]),
            "good": good.astype(np.float32),
            "poor": poor.astype(np.float32),
            "degree": degree,
            "weight": 1.0 + query % 4,
        }
    )
    return table.take(pa.array(rng.permutation(rows))) if spread else table


def write(folder: Path, *, spread: bool = False) -> dict[str, Any]:
    """Write files whose borders, and those of row groups, part queries."""
    folder.mkdir(parents=True)
    for name, seed in {"train": 0, "eval": 1}.items():
        table = queries(seed, spread=spread)
        cut = table.num_rows // 3 + 7
        for i, part in enumerate((table.slice(0, cut), table.slice(cut))):
            pq.write_table(part, folder / f"{name}-{i}.parquet", row_group_size=101)
    return {name: {"parquet": {"url": str(folder / f"{name}-*.parquet")}} for name in ("train", "eval")}


def spec(**changes: Any) -> dict[str, Any]:
    base = {
        "rounds": 12,
        "objective": "rank:ndcg",
        "params": {"max_depth": 3, "eta": 0.3},
        "evalMetrics": ["ndcg@5", "auc"],
        "label": "degree",
        "groupColumn": "query",
        "excluded": ["weight"],
    }
    return {**base, **changes}


def metrics(folder: Path, nodes: int, data: dict[str, Any], section: dict[str, Any]) -> Any:
    train(task(folder, nodes=nodes, spec=section, data=data))
    return {**read_json(folder / "result.json"), "history": read_history(folder)}


@pytest.mark.parametrize("spread", [False, True])
def test_many_ranks_rank_as_well_as_one(tmp_path: Path, spread: bool) -> None:
    data = write(tmp_path / "data", spread=spread)
    one = metrics(tmp_path / "one", 1, data, spec())
    three = metrics(tmp_path / "three", 3, data, spec())
    assert three["rows"] == one["rows"]
    assert one["history"]["eval-ndcg@5"][0] < one["history"]["eval-ndcg@5"][-1]
    for name in ("ndcg@5", "auc"):
        assert three["metrics"]["eval"][name] == pytest.approx(one["metrics"]["eval"][name], abs=1e-3)


def test_the_metric_is_that_of_the_model_over_whole_queries(tmp_path: Path) -> None:
    """By plain XGBoost, which gets all rows of a set at once and each query in one piece."""
    data = write(tmp_path / "data")
    weighted = spec(weight="weight", excluded=[])
    found = metrics(tmp_path / "out", 2, data, weighted)["metrics"]["eval"]
    booster = xgb.Booster(model_file=str(tmp_path / "out/model.ubj"))
    table = queries(1)
    numbers = np.array([int(name[1:]) for name in table["query"].to_pylist()])
    matrix = xgb.DMatrix(
        table.select(["good", "poor"]),
        label=table["degree"].to_numpy(),
        qid=numbers,
        weight=1.0 + np.arange(QUERIES) % 4,
    )
    booster.set_param([("eval_metric", "ndcg@5"), ("eval_metric", "auc")])
    said = dict(item.split(":") for item in booster.eval(matrix, "eval").split("\t")[1:])
    assert {f"eval-{name}": value for name, value in found.items()} == {
        name: pytest.approx(float(value), abs=1e-5) for name, value in said.items()
    }


def test_a_rank_without_a_group_is_refused_before_training(tmp_path: Path) -> None:
    table = queries(0).filter(pa.compute.less(queries(0)["query"], "q002"))
    pq.write_table(table, tmp_path / "two.parquet")
    data = {"train": {"parquet": {"url": str(tmp_path / "two.parquet")}}}
    with Pods(task(tmp_path / "out", nodes=3, spec=spec(), data=data), tmp_path / "pods") as pods:
        finals = pods.wait()
    assert {final.code for final in finals} == {Exit.DATA_NOT_READABLE}
    assert "Whole groups of 'query' are dealt to 3 ranks; 1 of them got none: use fewer" in finals[0].message


def test_weights_that_differ_within_a_group_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "data")
    with pytest.raises(DataNotReadable, match=r"'train': the weight column 'poor' differs within a group"):
        train(task(tmp_path / "out", spec=spec(weight="poor"), data=data))


def test_training_goes_on_from_the_base_margin(tmp_path: Path) -> None:
    """With what is to be predicted as the margin nothing is left to learn."""
    rng = np.random.default_rng(3)
    y = rng.normal(size=600)
    table = pa.table({"x": rng.normal(size=600), "before": y - 1.0, "y": y})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=70)
    data = {"train": {"parquet": {"url": str(tmp_path / "rows.parquet")}}}
    section = {
        "rounds": 3,
        "objective": "reg:squarederror",
        "params": {"eta": 1.0, "lambda": 0.0},
        "label": "y",
        "baseMargin": "before",
    }
    for nodes in (1, 2):
        out = metrics(tmp_path / f"out-{nodes}", nodes, data, section)
        assert out["metrics"]["train"]["rmse"] == pytest.approx(0.0, abs=1e-5)
        assert out["columns"]["features"] == ["x"]
        assert out["columns"]["margin"] == "before"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groupColumn": ""}, r"objective 'rank:ndcg' ranks within groups: set groupColumn"),
        (
            {"objective": "reg:squarederror", "groupColumn": "", "evalMetrics": ["map@3"]},
            r"metric 'map@3' ranks within groups: set groupColumn",
        ),
        ({"weight": "w", "evalMetrics": ["rmse"]}, r"whole groups, which the metric 'rmse' cannot do"),
        (
            {"weight": "w", "objective": "reg:gamma"},
            r"whole groups, which the objective 'reg:gamma' cannot do",
        ),
        (
            {"objective": "multi:softprob", "params": {"num_class": 3}, "baseMargin": "m"},
            r"baseMargin is one number a row, and 'multi:softprob' has one for each class",
        ),
        ({"objective": "survival:aft"}, r"'survival:aft' needs bounds of labels or the order of all rows"),
    ],
)
def test_what_does_not_fit_to_groups_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadHyperParameter, match=words):
        Parameters.from_spec(spec(**changes), threads=1).check(["train", "eval"], world_size=2)
