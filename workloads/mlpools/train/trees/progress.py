"""What a training remembers besides its trees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from mlpools.train.history import Row

#: data set -> metric -> value
Values = dict[str, dict[str, float]]
#: data set -> metric -> value of each round
History = dict[str, dict[str, list[float]]]

_REPORTED_METRICS = 16


@dataclasses.dataclass
class Progress:
    """How far a training is; a checkpoint holds it, so nothing is forgotten.

    Attributes:
        finished: rounds.
        history: of all rounds.
        best_round: round with the best value of the watched metric so far; -1 = none watched yet.
        over: a callback wants no further round.
    """

    finished: int = 0
    history: History = dataclasses.field(default_factory=dict)
    best_round: int = -1
    over: bool = False

    def add(self, values: Values, watched: str, higher_is_better: Callable[[str], bool]) -> None:
        """Take the values of a finished round.

        Args:
            values: of every set.
            watched: the set whose last metric tells the best round, empty without.
            higher_is_better: whether that holds of a metric.
        """
        for name, metrics in values.items():
            for metric, value in metrics.items():
                self.history.setdefault(name, {}).setdefault(metric, []).append(value)
        if watched:
            metric, curve = list(self.history[watched].items())[-1]
            sign = -1.0 if higher_is_better(metric) else 1.0
            if self.best_round < 0 or sign * curve[-1] < sign * curve[self.best_round]:
                self.best_round = self.finished
        self.finished += 1

    def at(self, index: int) -> Values:
        """Return all values of one round."""
        return {
            name: {metric: curve[index] for metric, curve in metrics.items()}
            for name, metrics in self.history.items()
        }

    def rows(self) -> list[Row]:
        """Return all values, a row for each round, which is counted from 1 here."""
        return [{"step": i + 1, **_joined(self.at(i))} for i in range(self.finished)]

    def copy(self) -> Progress:
        """Return what later rounds do not change."""
        history = {
            name: {metric: list(curve) for metric, curve in item.items()}
            for name, item in self.history.items()
        }
        return dataclasses.replace(self, history=history)


def flat(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return values under names such as ``eval-rmse``, at most as many as a report holds."""
    finite = [(name, value) for name, value in _joined(values).items() if math.isfinite(value)]
    return dict(finite[:_REPORTED_METRICS])


def _joined(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{name}-{metric}": value for name, item in values.items() for metric, value in item.items()}
