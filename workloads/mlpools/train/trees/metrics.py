"""Metrics over the rows of all ranks, in one process or many.

The libraries' own are wrong there: XGBoost averages the ranks' areas under curves, LightGBM knows its own
rows only. Averages need no more than numerators and denominators (``means``). What depends on the order of
all rows is computed from a ``Curve``: each rank sorts its own rows, and sorted rows can be merged.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mlpools.errors import BadHyperParameter
from mlpools.train.collective import Collective
from mlpools.train.trees.hooks import Hooks, name_of

Floats = npt.NDArray[np.float64]

#: Up to so many rows of all ranks a curve has every distinct score; above it has bins of scores.
EXACT_ROWS = 10_000_000
#: Borders of bins with about equal shares of the rows; an area is off by less than 0.0001.
BORDERS = 1 << 16
#: Scores of each kind of row, from all ranks, among which the borders are chosen.
_SAMPLE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Curve:
    """Weights of the positive and of the negative rows at each distinct score, highest score first.

    Attributes:
        scores: shape (scores,); any that order the rows as the model does, probabilities or margins.
        positive: weight of the positive rows at each score.
        negative: weight of the other rows.
    """

    scores: Floats
    positive: Floats
    negative: Floats

    @classmethod
    def of(cls, scores: npt.ArrayLike, positive: npt.ArrayLike, negative: npt.ArrayLike) -> Curve:
        """Sort rows, or parts of curves, and put those with one score together.

        Args:
            scores: of each row.
            positive: weight of each row as far as it is positive; 0 for a negative one.
            negative: weight of each row as far as it is not.
        """
        score, plus, minus = (np.asarray(values, np.float64) for values in (scores, positive, negative))
        order = np.argsort(-score, kind="stable")
        score = score[order]
        starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]][: len(score)])
        if not len(starts):
            return cls(score, plus, minus)
        return cls(score[starts], np.add.reduceat(plus[order], starts), np.add.reduceat(minus[order], starts))

    @property
    def has_both(self) -> bool:
        """Whether there are positive and negative rows; without, no curve can be drawn."""
        return bool(self.positive.sum() > 0 and self.negative.sum() > 0)


def over_all(collective: Collective, curve: Curve) -> Curve | None:
    """Return the curve of the rows of all ranks, on rank 0; None on the others. A collective call.

    It has every distinct score where those are at most ``EXACT_ROWS``, and bins of scores otherwise.
    """
    if collective.world_size == 1:
        return curve
    [total] = collective.sum(np.array([len(curve.scores)], np.float64))
    if total > EXACT_ROWS:
        curve = _binned(collective, curve)
        plus, minus = collective.sum(np.stack([curve.positive, curve.negative]))
        return Curve(curve.scores, plus, minus) if collective.rank == 0 else None
    parts = collective.gather_arrays(np.stack([curve.scores, curve.positive, curve.negative]))
    return Curve.of(*np.concatenate(parts, axis=1)) if collective.rank == 0 else None


def _binned(collective: Collective, curve: Curve) -> Curve:
    """Return the rank's curve over bins of scores that are the same on all ranks."""
    sample = [_quantiles(collective, curve.scores, weight) for weight in (curve.positive, curve.negative)]
    borders = np.unique(np.concatenate(sample))
    # A score that is a border has a bin of its own: scores of many rows, and those of the positive rows where
    # these are few, stay where they are.
    bins = sum(np.searchsorted(borders, curve.scores, side=side) for side in ("left", "right"))
    size = 2 * len(borders) + 1
    weights = [np.bincount(bins, weight, size)[::-1] for weight in (curve.positive, curve.negative)]
    return Curve(np.arange(size, dtype=np.float64)[::-1], *(np.asarray(it, np.float64) for it in weights))


def _quantiles(collective: Collective, scores: Floats, weight: Floats) -> Floats:
    """Return scores that part all ranks' weight into about equal parts: half of the borders.

    Taken for positive and negative rows apart, so that of neither kind much is in one bin.
    """
    upto = np.cumsum(weight)
    own = upto[-1] if len(upto) else 0.0
    [heaviest] = collective.max(np.array([own]))
    count = math.ceil(_SAMPLE / collective.world_size * own / heaviest) if heaviest else 0
    places = np.searchsorted(upto, (np.arange(count) + 0.5) / max(count, 1) * own)
    sample = np.sort(np.concatenate(collective.gather_arrays(scores[places])))
    if not len(sample):
        return sample
    chosen: Floats = sample[np.linspace(0, len(sample) - 1, BORDERS // 2).astype(np.int64)]
    return chosen


def auc(curve: Curve) -> float:
    """Return the area under the ROC curve, tied scores counted half; NaN for rows of one kind only."""
    if not curve.has_both:
        return math.nan
    before = np.cumsum(curve.positive) - curve.positive
    area = np.dot(curve.negative, before + curve.positive / 2)
    return float(area / (curve.positive.sum() * curve.negative.sum()))


def average_precision(curve: Curve) -> float:
    """Return the mean precision over the positive rows, in steps, as LightGBM has it; NaN for one kind."""
    if not curve.has_both:
        return math.nan
    hits, seen = np.cumsum(curve.positive), np.cumsum(curve.positive + curve.negative)
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return float(np.dot(curve.positive, precision) / hits[-1])


def aucpr(curve: Curve) -> float:
    """Return the area under the curve of precision over recall as XGBoost has it; NaN for rows of one kind.

    Between two scores it follows Davis and Goadrich (2006), whose interpolation is no straight line.
    """
    if not curve.has_both:
        return math.nan
    total = curve.positive.sum()
    hits, misses = np.cumsum(curve.positive), np.cumsum(curve.negative)
    steps = curve.positive > 0
    gained, lost = curve.positive[steps], curve.negative[steps]
    slope = lost / gained
    after, before = hits[steps] / total, (hits[steps] - gained) / total
    offset = ((misses[steps] - lost) - slope * (hits[steps] - gained)) / total
    bend = 1 + slope
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(bend * after + offset) - np.log(bend * before + offset)
        curved = np.where(offset != 0, offset / bend * logs, 0.0)
    return float(((after - before - curved) / bend).sum())


def one_against_rest(areas: Sequence[float], weights: Sequence[float]) -> float:
    """Return XGBoost's area of several classes, a mean; NaN if a class has no row.

    Args:
        areas: of each class against all others.
        weights: of each class: for ``auc`` the weight of its rows, for ``aucpr`` the same for all.
    """
    return float(np.average(areas, weights=weights)) if sum(weights) > 0 else math.nan


def means(collective: Collective, sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Return averages over all ranks from each one's numerator and denominator. A collective call.

    Args:
        collective: of the ranks.
        sums: numerator and denominator of this rank by name, the same names on all ranks; a rank without rows
            gives (0, 0). Where no rank has rows the average is NaN.
    """
    totals = collective.sum(np.array(list(sums.values()), np.float64).reshape(-1, 2))
    return {
        name: float(above / below) if below else math.nan
        for name, (above, below) in zip(sums, totals, strict=True)
    }


def check_metric(hooks: Hooks, rows: Mapping[str, int]) -> None:
    """Refuse a caller's metric for sets that are too large for rank 0.

    Args:
        hooks: of the caller.
        rows: of all ranks, of each set.

    Raises:
        BadHyperParameter: with the set.
    """
    for name, count in rows.items():
        if hooks.metric is not None and count > EXACT_ROWS:
            raise BadHyperParameter(
                f"The metric {name_of(hooks.metric)} gets all rows of a set on rank 0, which are "
                f"{EXACT_ROWS:,} at most, and {name!r} has {count:,}. Use a metric that has a name."
            )
