"""Metrics over all ranks are those of the libraries on the whole set, however the rows are dealt out."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb

from mlpools.train.collective import Collective
from mlpools.train.trees import metrics
from mlpools.train.trees.metrics import (
    Curve,
    auc,
    aucpr,
    average_precision,
    means,
    one_against_rest,
    over_all,
)
from tests.support.waiting import PATIENCE

ROWS = 3_000


class Threads(Collective):
    """Ranks that are threads of this process."""

    def __init__(self, rank: int, world_size: int, barrier: threading.Barrier, board: dict[int, Any]) -> None:
        super().__init__(rank, world_size)
        self._barrier = barrier
        self._board = board

    def _all(self, value: Any) -> list[Any]:
        self._board[self.rank] = value
        self._barrier.wait(PATIENCE)
        values = [self._board[rank] for rank in range(self.world_size)]
        self._barrier.wait(PATIENCE)
        return values

    def sum(self, values: Any) -> Any:
        return np.sum(self._all(values), axis=0)

    def max(self, values: Any) -> Any:
        return np.max(self._all(values), axis=0)

    def gather_arrays(self, values: Any) -> list[Any]:
        return self._all(values)


def on_ranks(world: int, call: Callable[[Collective], Any]) -> list[Any]:
    barrier, board = threading.Barrier(world), {}
    with ThreadPoolExecutor(world) as pool:
        ranks = [Threads(rank, world, barrier, board) for rank in range(world)]
        return [future.result(PATIENCE) for future in [pool.submit(call, rank) for rank in ranks]]


class Rows:
    """Scores with ties, weights and labels, sorted by label, so that ranks have rows of one kind only."""

    def __init__(self, seed: int, *, weighted: bool = True, digits: int = 2, positives: float = 0.3) -> None:
        rng = np.random.default_rng(seed)
        self.label = np.sort(rng.random(ROWS) < positives).astype(np.float64)
        noisy = rng.normal(size=ROWS) + self.label
        self.score = np.round(1 / (1 + np.exp(-noisy)), digits).astype(np.float32).astype(np.float64)
        weight = rng.integers(0, 4, ROWS) / 2 if weighted else np.ones(ROWS)
        self.weight = weight.astype(np.float64)

    def curve(self, part: slice = slice(None)) -> Curve:
        label, weight = self.label[part], self.weight[part]
        return Curve.of(self.score[part], label * weight, (1 - label) * weight)

    def over(self, world: int) -> Curve:
        """Return the curve of ranks of which the last has no rows."""
        cuts = [0, *np.linspace(ROWS // 7, ROWS, world - 1).astype(int), ROWS]
        first, *others = on_ranks(
            world, lambda ranks: over_all(ranks, self.curve(slice(cuts[ranks.rank], cuts[ranks.rank + 1])))
        )
        assert others == [None] * (world - 1)
        return first


def by_xgboost(
    metric: str, margin: np.ndarray, label: np.ndarray, weight: np.ndarray, classes: int = 0
) -> tuple[float, np.ndarray]:
    """Return a metric, and the scores that it is of."""
    matrix = xgb.DMatrix(np.zeros((len(label), 1)), label=label, weight=weight, base_margin=margin)
    several = {"objective": "multi:softprob", "num_class": classes} if classes else {}
    booster = xgb.Booster({**several, "base_score": 0.0, "eval_metric": metric, "nthread": 1}, [matrix])
    value = float(booster.eval_set([(matrix, "set")], 0).rpartition(":")[2])
    return value, booster.predict(matrix)


def by_lightgbm(metric: str, score: np.ndarray, label: np.ndarray, weight: np.ndarray) -> float:
    data = lgb.Dataset(
        np.zeros((len(label), 1)), label=label, weight=weight, init_score=score, params={"verbosity": -1}
    )
    params = {"objective": "regression", "metric": metric, "verbosity": -1, "num_threads": 1}
    booster = lgb.Booster(params, data)
    [result] = booster.eval_train()
    return result[2]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("world", [1, 3, 4])
def test_areas_are_those_of_the_libraries_on_the_whole_set(seed: int, world: int) -> None:
    rows = Rows(seed, weighted=seed % 2 == 0, digits=1 + seed % 3 * 2, positives=(0.3, 0.01, 0.9)[seed % 3])
    curve = rows.curve() if world == 1 else rows.over(world)
    given = rows.score, rows.label, rows.weight
    assert auc(curve) == pytest.approx(by_xgboost("auc", *given)[0], abs=1e-6)
    assert auc(curve) == pytest.approx(by_lightgbm("auc", *given), abs=1e-6)
    assert aucpr(curve) == pytest.approx(by_xgboost("aucpr", *given)[0], abs=1e-6)
    assert average_precision(curve) == pytest.approx(by_lightgbm("average_precision", *given), abs=1e-6)


@pytest.mark.parametrize("positives", [0.0, 1.0])
def test_rows_of_one_kind_have_no_area(positives: float) -> None:
    rows = Rows(1, positives=positives)
    curve = rows.over(3)
    assert not curve.has_both
    assert all(math.isnan(area(curve)) for area in (auc, aucpr, average_precision))


def test_no_rows_have_no_area() -> None:
    empty = Curve.of([], [], [])
    assert math.isnan(auc(empty))
    assert math.isnan(auc(on_ranks(2, lambda ranks: over_all(ranks, empty))[0]))


def test_several_classes_are_weighed_as_xgboost_does() -> None:
    rng = np.random.default_rng(3)
    label = np.sort(rng.integers(0, 4, ROWS))
    margin = np.round(rng.random((ROWS, 4)) + np.eye(4)[label], 2)
    weight = rng.integers(1, 4, ROWS).astype(np.float64)
    for name, area in (("auc", auc), ("aucpr", aucpr)):
        theirs, score = by_xgboost(name, margin, label, weight, 4)
        curves = [Curve.of(score[:, k], (label == k) * weight, (label != k) * weight) for k in range(4)]
        prevalence = [float(curve.positive.sum()) if name == "auc" else 1.0 for curve in curves]
        assert one_against_rest([area(curve) for curve in curves], prevalence) == pytest.approx(
            theirs, abs=1e-6
        )
    assert math.isnan(one_against_rest([0.5, math.nan], [1.0, 0.0]))


@pytest.mark.parametrize("shape", ["spread", "crowded", "rare", "weighted"])
def test_bins_are_off_by_less_than_a_ten_thousandth(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    count = 300_000
    label = np.sort(rng.random(count) < (0.002 if shape == "rare" else 0.4)).astype(np.float64)
    score = rng.normal(size=count) + label
    if shape == "crowded":  # nearly all of the rows in a millionth of the scores' range
        score = np.where(rng.random(count) < 0.999, 0.5 + score * 1e-7, score)
    weight = rng.exponential(size=count) if shape == "weighted" else np.ones(count)

    def own(ranks: Collective) -> Curve | None:
        part = slice(ranks.rank * count // 3, (ranks.rank + 1) * count // 3)
        y, w = label[part], weight[part]
        return over_all(ranks, Curve.of(score[part], y * w, (1 - y) * w))

    exact = on_ranks(3, own)[0]
    monkeypatch.setattr(metrics, "EXACT_ROWS", 1_000)
    binned = on_ranks(3, own)[0]
    assert len(binned.scores) <= 2 * metrics.BORDERS + 1 < len(exact.scores)
    for area in (auc, aucpr, average_precision):
        assert area(binned) == pytest.approx(area(exact), abs=1e-4)


def test_averages_are_over_rows_and_not_over_ranks() -> None:
    rng = np.random.default_rng(0)
    loss, weight = rng.random(100), rng.random(100)
    cuts = [0, 90, 100, 100]

    def own(ranks: Collective) -> dict[str, float]:
        part = slice(cuts[ranks.rank], cuts[ranks.rank + 1])
        return means(
            ranks, {"l1": (float(loss[part] @ weight[part]), float(weight[part].sum())), "no": (0.0, 0.0)}
        )

    for found in on_ranks(3, own):
        assert found["l1"] == pytest.approx(np.average(loss, weights=weight), abs=1e-12)
        assert math.isnan(found["no"])
