"""The metrics of every set over the rows of all ranks, after each round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm as lgb
import numpy as np

from mlpools.errors import InvalidSpec
from mlpools.train.collective import Collective
from mlpools.train.lightgbm import metrics
from mlpools.train.lightgbm.dataset import BinnedRows
from mlpools.train.trees.hooks import Hooks, Metric, calling, name_of
from mlpools.train.trees.progress import Values


class Evaluation:
    """Measures a booster. All ranks make the same calls in the same order."""

    def __init__(self, collective: Collective, sets: Mapping[str, BinnedRows], hooks: Hooks) -> None:
        self._collective = collective
        self._sets = sets
        self._metric = hooks.metric
        self._whole = {name: self._gathered(rows.rows) for name, rows in sets.items()} if hooks.metric else {}
        #: Whether a metric needs the predictions of all rows: to hand them over costs as much as the metric.
        self._by_rows = True  # until the names of all metrics are known
        self._of_caller: dict[str, bool] = {}  # whether a higher value of the caller's metric is better

    def higher_is_better(self, metric: str) -> bool:
        """Whether early stopping waits for a higher value of a metric."""
        return self._of_caller.get(metric, metrics.higher_is_better(metric))

    def measure(self, booster: lgb.Booster) -> Values:
        """Return the metrics of every set over all ranks, the caller's after LightGBM's."""
        return {name: self._of_set(booster, name) for name in self._sets}

    def _of_set(self, booster: lgb.Booster, name: str) -> dict[str, float]:
        own = self._sets[name]
        values, predictions = self._by_lightgbm(booster, own)
        if self._collective.world_size > 1:
            values = self._over_all(values, predictions, own)
        if self._metric is not None:
            metric, value, higher = self._by_caller(self._metric, predictions, name)
            self._of_caller = {metric: higher}
            values.pop(metric, None)
            values[metric] = value
        return values

    def _by_lightgbm(self, booster: lgb.Booster, own: BinnedRows) -> tuple[dict[str, float], np.ndarray]:
        """Return the rank's own metrics and predictions; a rank without rows of a set has made-up metrics."""
        seen: list[np.ndarray] = []

        def look(predictions: np.ndarray, _: lgb.Dataset) -> list[Any]:
            seen.append(predictions)
            return []

        found = booster.eval(
            own.dataset or self._sets["train"].dataset, "set", look if self._by_rows else None
        )
        values = {metric: float(value) for _, metric, value, *_ in found}
        over_all = self._collective.world_size > 1 and any(map(metrics.is_of_all_rows, values))
        self._by_rows = over_all or self._metric is not None
        predictions = seen[0] if seen else np.empty(0)
        return values, predictions if own.dataset is not None else predictions[:0]

    def _over_all(
        self, values: Mapping[str, float], predictions: np.ndarray, own: BinnedRows
    ) -> dict[str, float]:
        sums = [(name, value) for name, value in values.items() if not metrics.is_of_all_rows(name)]
        averages = metrics.average(self._collective, sums, own.rows)
        return {
            name: metrics.of_all_rows(self._collective, name, predictions, own.rows)
            if metrics.is_of_all_rows(name)
            else averages[name]
            for name in values
        }

    def _by_caller(self, metric: Metric, predictions: np.ndarray, name: str) -> tuple[str, float, bool]:
        parts = self._collective.gather_arrays(predictions)
        said = None
        if self._collective.rank == 0:
            with calling("metric", metric, lgb.basic.LightGBMError):
                said = metric(np.concatenate([part for part in parts if len(part)]), self._whole[name])
            said = _checked(metric, said)
        shared: list[Any] = self._collective.share(said)
        return str(shared[0]), float(shared[1]), bool(shared[2])

    def _gathered(self, own: metrics.Rows) -> lgb.Dataset | None:
        """Return the labels, weights and groups of all ranks on rank 0.

        All ranks make the set: while it is made, LightGBM divides its features among those that it knows.
        """
        label, weight = (
            np.concatenate(self._collective.gather_arrays(it)) for it in (own.label, own.weights)
        )
        groups = np.concatenate(
            self._collective.gather_arrays(np.empty(0, np.int64) if own.groups is None else own.groups)
        )
        whole = lgb.Dataset(
            np.zeros((len(label), 1), np.float32),
            label=label,
            weight=None if own.weight is None else weight,
            group=groups if own.groups is not None else None,
            params={"verbosity": -1},
        ).construct()
        return None if self._collective.rank else whole


def _checked(metric: Metric, said: Any) -> tuple[str, float, bool]:
    try:
        name, value, higher = said
        return str(name), float(value), bool(higher)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(
            f"The metric {name_of(metric)} must return a name, a number and whether a higher one is better, "
            f"not {said!r}."
        ) from error
