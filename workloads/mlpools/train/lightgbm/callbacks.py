"""A caller's callbacks, called as ``lightgbm.train`` calls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightgbm as lgb

from mlpools.errors import InvalidSpec
from mlpools.train.lightgbm.trees import LightGBMTrees
from mlpools.train.trees.hooks import Callbacks, calling
from mlpools.train.trees.progress import History


class LightGBMCallbacks(Callbacks):
    """Functions of a ``lightgbm.callback.CallbackEnv``, in the order of their ``order``.

    Raises:
        InvalidSpec: one of them stops early in a way that a checkpoint cannot keep.
    """

    def __init__(self, given: Sequence[Any], trees: LightGBMTrees, rounds: int) -> None:
        super().__init__(sorted(given, key=lambda callback: getattr(callback, "order", 0)))
        self._trees = trees
        self._rounds = rounds
        for callback in self.given:
            if type(callback).__name__ == "_EarlyStoppingCallback":
                raise InvalidSpec(
                    "LightGBM's callback early_stopping forgets what it saw when a training is resumed; use "
                    "early_stopping_rounds instead, which does not."
                )

    def before_round(self, index: int, history: History) -> bool:
        """Return whether one of them wants no further round."""
        return self._call(index, [], lambda callback: getattr(callback, "before_iteration", False))

    def after_round(self, index: int, history: History) -> bool:
        """Return whether one of them wants this to be the last round."""
        results = [
            (name, metric, curve[-1], self._trees.higher_is_better(metric))
            for name, metrics in history.items()
            for metric, curve in metrics.items()
        ]
        return self._call(index, results, lambda callback: not getattr(callback, "before_iteration", False))

    def _call(self, index: int, results: list[Any], due: Callable[[Any], bool]) -> bool:
        """Return whether one says that it is enough; all are asked, whatever the first one says."""
        booster = self._trees.booster
        env = lgb.callback.CallbackEnv(booster, booster.params, index, 0, self._rounds, results)
        over = False
        for callback in filter(due, self.given):
            try:
                with calling("callback", callback, lgb.basic.LightGBMError, lgb.callback.EarlyStopException):
                    callback(env)
            except lgb.callback.EarlyStopException:
                over = True
        return over
