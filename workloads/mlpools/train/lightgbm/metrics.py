"""LightGBM's metrics over the rows of all ranks; its own know nothing of other ranks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mlpools.train.collective import Collective
from mlpools.train.trees.metrics import Curve, auc, average_precision, means, over_all

Floats = npt.NDArray[np.float64]

_HIGHER_IS_BETTER = frozenset({"auc", "average_precision", "auc_mu", "ndcg", "map", "r2"})
#: Averages over groups of rows, each of which is on one rank as a whole.
_OF_GROUPS = frozenset({"ndcg", "map"})


class Rows:
    """One rank's rows of one set, as far as metrics need them beside predictions.

    Attributes:
        label: shape (rows,).
        weight: shape (rows,), or None where all rows weigh the same.
        groups: number of rows of each group, or None.
    """

    def __init__(
        self,
        label: npt.NDArray[np.float32],
        weight: npt.NDArray[np.float32] | None = None,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.label = label
        self.weight = weight
        self.groups = groups

    @property
    def weights(self) -> Floats:
        """The weight of each row."""
        return np.ones(len(self.label)) if self.weight is None else self.weight.astype(np.float64)

    def of_what(self, metric: str) -> float:
        """Return what a metric is divided by: weight of rows or of groups, number of rows."""
        if metric == "cross_entropy_lambda":
            return float(len(self.label))
        if metric.partition("@")[0] in _OF_GROUPS and self.groups is not None:
            if self.weight is None:
                return float(len(self.groups))
            starts = np.cumsum(self.groups) - self.groups
            return float((np.add.reduceat(self.weights, starts) / self.groups).sum()) if len(starts) else 0.0
        return float(len(self.label)) if self.weight is None else float(self.weights.sum())


def higher_is_better(metric: str) -> bool:
    """Whether early stopping waits for a higher value."""
    return metric.partition("@")[0] in _HIGHER_IS_BETTER


def is_of_all_rows(metric: str) -> bool:
    """Whether a metric is no average of its values on parts of the rows, as areas under curves are not."""
    return metric in _OF_ALL_ROWS


def average(collective: Collective, own: Sequence[tuple[str, float]], rows: Rows) -> dict[str, float]:
    """Return metrics over all ranks from each one's own. A collective call.

    Args:
        collective: of the ranks.
        own: names and this rank's values, the same names on all ranks; of a rank without rows any values.
        rows: of this rank.
    """
    sums = {}
    for name, value in own:
        share = rows.of_what(name)
        if name == "gamma_deviance":  # the one metric that LightGBM does not divide
            sums[name] = (value if share else 0.0, float(collective.rank == 0))
        else:
            sums[name] = ((value**2 if name == "rmse" else value) * share if share else 0.0, share)
    return {
        name: math.sqrt(value) if name == "rmse" else value for name, value in means(collective, sums).items()
    }


def of_all_rows(collective: Collective, metric: str, predictions: Floats, rows: Rows) -> float:
    """Return a metric that only all rows together have, on all ranks. A collective call.

    Args:
        collective: of the ranks.
        metric: for which ``is_of_all_rows`` holds.
        predictions: of this rank's rows, transformed, of shape (rows,) or (rows, classes).
        rows: of this rank.
    """
    value: float = collective.share(_OF_ALL_ROWS[metric](collective, predictions, rows))
    return value


def _area(
    area: Callable[[Curve], float],
    collective: Collective,
    score: Floats,
    positive: npt.NDArray[np.bool_],
    weight: Floats,
) -> float | None:
    curve = over_all(collective, Curve.of(score, positive * weight, ~positive * weight))
    if curve is None:
        return None
    return area(curve) if curve.has_both else 1.0  # as LightGBM has it


def _auc(collective: Collective, predictions: Floats, rows: Rows) -> float | None:
    return _area(auc, collective, predictions, rows.label > 0, rows.weights)


def _average_precision(collective: Collective, predictions: Floats, rows: Rows) -> float | None:
    return _area(average_precision, collective, predictions, rows.label > 0, rows.weights)


def _auc_mu(collective: Collective, predictions: Floats, rows: Rows) -> float | None:
    """Return the mean area over pairs of classes (Kleiman and Page, 2019), all mistakes of equal cost."""
    with np.errstate(divide="ignore"):
        margins = np.log(predictions)  # of softmax, up to a summand that all classes of a row share
    pairs = list(itertools.combinations(range(predictions.shape[1]), 2))
    areas: list[float | None] = []
    for one, other in pairs:
        of_pair = (rows.label == one) | (rows.label == other)
        score = (margins[:, one] - margins[:, other])[of_pair]
        areas.append(_area(auc, collective, score, rows.label[of_pair] == one, rows.weights[of_pair]))
    return float(np.mean([area for area in areas if area is not None])) if collective.rank == 0 else None


def _r2(collective: Collective, predictions: Floats, rows: Rows) -> float:
    """Return the share of the labels' variance that is explained; 1 of none, as LightGBM has it."""
    label, weight = rows.label.astype(np.float64), rows.weights
    total, weighted = collective.sum(np.array([weight.sum(), weight @ label]))
    mean = weighted / total
    left, variance = collective.sum(
        np.array([weight @ (label - predictions) ** 2, weight @ (label - mean) ** 2])
    )
    return 1.0 - float(left / variance) if variance else 1.0


_OF_ALL_ROWS: dict[str, Callable[[Collective, Floats, Rows], float | None]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "auc_mu": _auc_mu,
    "r2": _r2,
}
