"""The metrics of every set over the rows of all ranks, after each round.

XGBoost reduces sums itself, such as those of ``rmse``, and means over whole groups. Areas under curves over
several ranks, and a caller's metric, are computed here, from the rows of all ranks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from mlpools.errors import InvalidSpec
from mlpools.train.collective import Collective
from mlpools.train.trees import metrics
from mlpools.train.trees.hooks import Hooks, Metric, calling, name_of
from mlpools.train.trees.progress import Values
from mlpools.train.xgboost.parameters import Parameters

Floats = npt.NDArray[np.float64]

_AREAS: Mapping[str, Callable[[metrics.Curve], float]] = {"auc": metrics.auc, "aucpr": metrics.aucpr}


@dataclasses.dataclass(frozen=True)
class Held:
    """This rank's rows of a set.

    Attributes:
        matrix: as XGBoost has them.
        empty: there are none, but for a row that fills the matrix.
    """

    matrix: xgb.DMatrix
    empty: bool

    @property
    def weight(self) -> Floats:
        """Of each row; of each group where there are groups."""
        label, given = self.matrix.get_label(), self.matrix.get_weight()
        if self.empty:
            return np.zeros(0)
        groups = len(self.matrix.get_uint_info("group_ptr")) - 1
        return given.astype(np.float64) if len(given) else np.ones(groups if groups > 0 else len(label))

    def rows(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values of the matrix's rows without that which only fills it."""
        return values[:0] if self.empty else values


class Evaluation:
    """Measures a booster. All ranks make the same calls in the same order.

    Attributes:
        of_caller: name of the caller's metric, as far as it was called; it comes after all others.
    """

    def __init__(
        self, collective: Collective, parameters: Parameters, sets: Mapping[str, Held], hooks: Hooks
    ) -> None:
        self._collective = collective
        self._sets = sets
        self._areas = distributed_areas(parameters, collective.world_size)
        self._asked = parameters.metrics
        self._classes = int(parameters.booster.get("num_class", 0))
        self._margins = hooks.objective is not None
        self._metric = hooks.metric
        self.of_caller = ""
        self._whole = {name: self._gathered(held) for name, held in sets.items()} if hooks.metric else {}

    def measure(self, booster: xgb.Booster, index: int) -> Values:
        """Return the metrics of every set after a round, in the order in which they were asked for."""
        values = self._by_xgboost(booster, index)
        for name, held in self._sets.items():
            if self._areas:
                found = {**values[name], **self._areas_of(booster, held)}
                asked = [metric for metric in self._asked if metric in found]
                values[name] = {metric: found[metric] for metric in dict.fromkeys([*asked, *found])}
            if self._metric is not None:
                self.of_caller, value = self._by_caller(self._metric, booster, name)
                values[name].pop(self.of_caller, None)
                values[name][self.of_caller] = value
        return values

    def _by_xgboost(self, booster: xgb.Booster, index: int) -> Values:
        # Numbers instead of the sets' names: XGBoost answers "<name>-<metric>", and both may hold dashes.
        numbered = [(held.matrix, str(i)) for i, held in enumerate(self._sets.values())]
        names = list(self._sets)
        values: Values = {name: {} for name in names}
        for item in booster.eval_set(numbered, index).split("\t")[1:]:
            key, _, value = item.rpartition(":")
            number, _, metric = key.partition("-")
            values[names[int(number)]][metric] = float(value)
        return values

    def _areas_of(self, booster: xgb.Booster, held: Held) -> dict[str, float]:
        label, weight = held.rows(held.matrix.get_label()).astype(np.float64), held.weight
        if self._classes > 1:
            scores = held.rows(_probabilities(booster.predict(held.matrix, output_margin=True)))
            positive = [weight * (label == k) for k in range(self._classes)]
        else:
            scores = held.rows(booster.predict(held.matrix, output_margin=self._margins).reshape(-1, 1))
            positive = [weight * label]
        curves = [
            metrics.over_all(self._collective, metrics.Curve.of(scores[:, k], plus, weight - plus))
            for k, plus in enumerate(positive)
        ]
        drawn = [curve for curve in curves if curve is not None]  # on rank 0 only
        values: dict[str, float] = self._collective.share({name: _area(name, drawn) for name in self._areas})
        return values

    def _by_caller(self, metric: Metric, booster: xgb.Booster, name: str) -> tuple[str, float]:
        held = self._sets[name]
        own = held.rows(booster.predict(held.matrix, output_margin=self._margins))
        parts = self._collective.gather_arrays(own)
        said = None
        if self._collective.rank == 0:
            predictions = np.concatenate([part for part in parts if len(part)])
            with calling("metric", metric, xgb.core.XGBoostError):
                said = metric(predictions, self._whole[name])
            said = _checked(metric, said)
        name_and_value: list[Any] = self._collective.share(said)
        return str(name_and_value[0]), float(name_and_value[1])

    def _gathered(self, held: Held) -> xgb.DMatrix:
        """Return a matrix of the labels, weights and groups of all ranks.

        Rank 0 needs it, but XGBoost lets all ranks agree on the columns of every matrix that one makes.
        """
        gather = self._collective.gather_arrays
        label = np.concatenate(gather(held.rows(held.matrix.get_label())))
        weight = np.concatenate(gather(held.weight))
        sizes = np.diff(held.matrix.get_uint_info("group_ptr"))
        groups = np.concatenate(gather(sizes[:0] if held.empty else sizes))
        matrix = xgb.DMatrix(np.empty((len(label), 0), np.float32), label=label)
        if len(groups):
            matrix.set_group(groups)
        matrix.set_weight(weight)
        return matrix


def distributed_areas(parameters: Parameters, world_size: int) -> list[str]:
    """Return the areas under curves that XGBoost would not compute over all rows: it averages the ranks' own.

    With groups each has its own curve, and the mean over whole groups is XGBoost's to reduce.
    """
    if world_size == 1 or parameters.section.group:
        return []
    return [metric for metric in parameters.metrics if metric in _AREAS]


def _area(metric: str, curves: list[metrics.Curve]) -> float:
    """Return the area under one curve, or under those of each class against all others as XGBoost has it."""
    if not curves:
        return 0.0  # another rank than 0, whose word does not count
    areas = [_AREAS[metric](curve) for curve in curves]
    if len(areas) == 1:
        return areas[0]
    weights = [float(curve.positive.sum()) if metric == "auc" else 1.0 for curve in curves]
    return metrics.one_against_rest(areas, weights)


def _probabilities(margins: npt.NDArray[np.float32]) -> Floats:
    """Return the softmax of each row."""
    raised = np.exp(margins.astype(np.float64) - margins.max(axis=1, keepdims=True))
    probabilities: Floats = raised / raised.sum(axis=1, keepdims=True)
    return probabilities


def _checked(metric: Metric, said: Any) -> tuple[str, float]:
    try:
        name, value = said
        return str(name), float(value)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(
            f"The metric {name_of(metric)} must return a name and a number, not {said!r}."
        ) from error
