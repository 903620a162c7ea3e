"""Real gangs train LightGBM models: as good as one rank whatever the order of the rows, and none hangs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.contract.ends import Exit, Final
from tests.support.flights import CARRIERS, flights, write_flights
from tests.support.gate import GATE, gated
from tests.support.pods import Pods, read_json, task, wait_for
from tests.support.sorted_rows import Order, rows, write

ROWS = 4_000
SPEC = {
    "rounds": 400,
    "objective": "regression",
    "params": {"num_leaves": 7, "learning_rate": 0.1},
    "label": "arr_delay",
    "evalMetrics": ["rmse"],
    "earlyStoppingRounds": 390,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("flights")
    sources = write_flights(folder, ROWS)
    pq.write_table(flights(1, seed=5), folder / "tiny.parquet")  # one rank has no row of it
    return {**sources, "tiny": {"parquet": {"url": str(folder / "tiny.parquet")}}}


def run(folder: Path, nodes: int, **changes: Any) -> tuple[list[Final], Path]:
    work = task(folder / "out", nodes=nodes, **{"framework": "lightgbm", "spec": SPEC, **changes})
    with Pods(work, folder / f"pods-{work.attempt}") as pods:
        finals = pods.wait()
        assert [final.code for final in finals] == [Exit.DONE] * nodes, [pod.output() for pod in pods.pods]
    return finals, folder / "out"


@pytest.fixture(scope="module")
def trained(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ranks, never interrupted; they share no category."""
    return run(tmp_path_factory.mktemp("run"), 2, data=data)[1]


def matrix(name: str) -> tuple[np.ndarray, np.ndarray]:
    count, seed = {"train": (ROWS, 0), "eval": (ROWS // 4, 1), "tiny": (1, 5)}[name]
    table = flights(count, seed)
    codes = [CARRIERS.index(carrier) for carrier in table["carrier"].to_pylist()]
    others = [table[column].to_numpy().astype(float) for column in table.column_names[1:4]]
    return np.column_stack([codes, *others]), table["arr_delay"].to_numpy()


def test_every_row_is_in_every_tree_once_and_metrics_are_over_all_of_them(trained: Path) -> None:
    booster, result = lgb.Booster(model_file=str(trained / "model.txt")), read_json(trained / "result.json")
    trees = booster.dump_model()["tree_info"]
    assert {tree["tree_structure"]["internal_count"] for tree in trees} == {ROWS}
    for name in ("train", "eval", "tiny"):
        features, truth = matrix(name)
        error = float(np.sqrt(np.mean((booster.predict(features) - truth) ** 2)))
        assert result["metrics"][name]["rmse"] == pytest.approx(error, rel=1e-5)
        constant = float(np.sqrt(np.mean((matrix("train")[1].mean() - truth) ** 2)))
        assert result["baseline"][name]["rmse"] == pytest.approx(constant, rel=1e-3)


def test_the_model_is_as_good_as_plain_lightgbms(trained: Path) -> None:
    features, truth = matrix("train")
    params = {**SPEC["params"], "objective": "regression", "verbosity": -1, "num_threads": 1}  # type: ignore[dict-item]
    plain = lgb.train(params, lgb.Dataset(features, truth, categorical_feature=[0]), 400)
    held_out, truth = matrix("eval")
    result = read_json(trained / "result.json")
    predicted = plain.predict(held_out, num_iteration=result["bestRound"])
    theirs = float(np.sqrt(np.mean((predicted - truth) ** 2)))
    assert result["metrics"]["eval"]["rmse"] == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("by", ["x", "y"])
def test_sorted_rows_make_no_difference(by: Order, tmp_path: Path) -> None:
    """By a feature: bins of a rank's own rows are far worse. By the label: a rank has one kind of rows."""
    sources = write(tmp_path / "in", 20_000, by)
    spec = {
        **SPEC,
        "objective": "binary",
        "label": "y",
        "evalMetrics": ["r2", "binary_logloss", "auc"],
        "earlyStoppingRounds": 5,
        "params": {"num_leaves": 15, "learning_rate": 0.3, "max_bin": 63},
    }
    alone, _ = run(tmp_path / "one", 1, data=sources, spec=spec)
    together, output = run(tmp_path / "two", 2, data=sources, spec=spec)
    assert together[0].metrics["eval-auc"] == pytest.approx(alone[0].metrics["eval-auc"], abs=1e-3)
    result = read_json(output / "result.json")
    assert result["bestRound"] + 5 == together[0].step < 400
    table = rows(10_000, by, seed=1)
    features = np.column_stack([table[name].to_numpy() for name in ("x", "a", "b")])
    scores, label = lgb.Booster(model_file=str(output / "model.txt")).predict(features), table["y"].to_numpy()
    assert result["metrics"]["eval"]["auc"] == pytest.approx(area(scores, label), abs=1e-9)
    explained = 1 - np.mean((label - scores) ** 2) / np.var(label)
    assert result["metrics"]["eval"]["r2"] == pytest.approx(explained, abs=1e-6)
    logloss = -np.mean(np.log(np.where(label > 0, scores, 1 - scores)))
    assert result["metrics"]["eval"]["binary_logloss"] == pytest.approx(logloss, rel=1e-6)


def area(scores: np.ndarray, label: np.ndarray) -> float:
    """Return the share of pairs of a positive and a negative row that are in the right order."""
    positive, negative = scores[label > 0], scores[label == 0]
    above = positive[:, None] > negative[None]
    return float(np.mean(above + 0.5 * (positive[:, None] == negative[None])))


def test_a_stop_of_one_rank_saves_a_round_and_the_next_attempt_gives_the_same_bytes(
    trained: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    """Without a periodic checkpoint: what is saved was agreed on after the signal."""
    work = task(tmp_path / "out", nodes=2, spec=SPEC, data=data, framework="lightgbm")
    with Pods(work, tmp_path / "pods-0", gated(tmp_path / "go")) as pods:
        wait_for(lambda: pods[0].step() == GATE, what="a round")
        os.kill(pods[1].worker(), signal.SIGTERM)
        (tmp_path / "go").touch()
        finals = pods.wait()
        assert [final.code for final in finals] == [Exit.PREEMPTED] * 2, pods[0].output()
    assert GATE <= finals[0].checkpoint_step < 400
    run(tmp_path, 2, data=data, attempt=2)
    assert read_json(tmp_path / "out/result.json")["resumedFromStep"] == finals[0].checkpoint_step
    assert (tmp_path / "out/model.txt").read_bytes() == (trained / "model.txt").read_bytes()


@pytest.mark.parametrize("whole_pod", [False, True])
def test_a_killed_rank_ends_the_gang_and_fewer_ranks_resume(
    data: dict[str, Any], tmp_path: Path, whole_pod: bool
) -> None:
    """LightGBM itself would wait for it for hours, or spin for ever."""
    checkpoint = {"url": f"file://{tmp_path}/saved", "everyRounds": 10, "keep": 2}
    long = {**SPEC, "rounds": 50_000, "earlyStoppingRounds": None}
    work = task(tmp_path / "out", nodes=3, spec=long, data=data, checkpoint=checkpoint, framework="lightgbm")
    with Pods(work, tmp_path / "pods-0") as pods:
        wait_for(lambda: (r := pods[0].report()) and r.checkpoint_step >= 10, what="a checkpoint")
        if whole_pod:
            pods[1].kill()
        else:
            os.kill(pods[1].worker(), signal.SIGKILL)
        finals = pods.wait()
    codes = [final.code for final in finals]
    assert codes == ([Exit.PEER_LOST] * 2 if whole_pod else [Exit.PEER_LOST, Exit.SIGNAL, Exit.PEER_LOST])
    if whole_pod:
        return
    newest = max(
        int(path.parent.name.removeprefix("step-")) for path in (tmp_path / "saved").glob("uid-1/*/COMMIT")
    )
    short = {**SPEC, "rounds": newest + 5, "earlyStoppingRounds": None}
    _, output = run(tmp_path, 1, data=data, attempt=2, spec=short, checkpoint=checkpoint)
    result = read_json(output / "result.json")
    assert result["resumedFromStep"] == newest == result["rounds"] - 5
    features, truth = matrix("train")
    error = float(
        np.sqrt(np.mean((lgb.Booster(model_file=str(output / "model.txt")).predict(features) - truth) ** 2))
    )
    assert result["metrics"]["train"]["rmse"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("nodes", [1, 2])
def test_ranking_within_groups_and_from_margins(nodes: int, tmp_path: Path) -> None:
    """Groups lie across row groups and ranks, and across the pieces in which rows are pushed."""
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(300), rng.integers(2, 30, 300))
    x = rng.normal(size=len(query))
    y = np.clip(np.round(x + rng.normal(size=len(query)) * 0.5), 0, 4)
    table = pa.table({"x": x, "q": query, "m": 0.01 * x, "y": y})
    for name in ("train", "eval"):
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=333)
    sources = {name: {"parquet": {"url": f"{tmp_path}/{name}.parquet"}} for name in ("train", "eval")}
    spec = {
        "rounds": 20,
        "objective": "lambdarank",
        "label": "y",
        "groupColumn": "q",
        "baseMargin": "m",
        "params": {"eval_at": [3, 5], "num_leaves": 7},
        "treeLearner": "voting",
    }
    _, output = run(tmp_path / "run", nodes, data=sources, spec=spec)
    metrics = read_json(output / "result.json")["metrics"]["eval"]
    scores = lgb.Booster(model_file=str(output / "model.txt")).predict(x[:, None]) + 0.01 * x
    for at in (3, 5):
        gains = [ndcg(y[query == q], scores[query == q], at) for q in range(300)]
        assert metrics[f"ndcg@{at}"] == pytest.approx(np.mean(gains), abs=1e-6)


def ndcg(label: np.ndarray, score: np.ndarray, at: int) -> float:
    def gain(order: np.ndarray) -> float:
        best = label[order][:at]
        return float(np.sum((2**best - 1) / np.log2(np.arange(len(best)) + 2)))

    ideal = gain(np.argsort(-label, kind="stable"))
    return gain(np.argsort(-score, kind="stable")) / ideal if ideal else 1.0
