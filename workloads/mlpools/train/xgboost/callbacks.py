"""A caller's callbacks, called as ``xgboost.train`` calls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import xgboost as xgb

from mlpools.errors import InvalidSpec
from mlpools.train.trees.hooks import Callbacks, calling, name_of
from mlpools.train.trees.progress import History
from mlpools.train.xgboost.trees import XGBoostTrees


class XGBoostCallbacks(Callbacks):
    """Objects of the class ``xgboost.callback.TrainingCallback``.

    Raises:
        InvalidSpec: one of them is something else, or stops early in a way that a checkpoint cannot keep.
    """

    def __init__(self, given: Sequence[Any], trees: XGBoostTrees) -> None:
        super().__init__(given)
        self._trees = trees
        for callback in self.given:
            if not isinstance(callback, xgb.callback.TrainingCallback):
                raise InvalidSpec(
                    f"The callback {name_of(callback)} is no xgboost.callback.TrainingCallback; derive its "
                    "class from that one."
                )
            if isinstance(callback, xgb.callback.EarlyStopping):
                raise InvalidSpec(
                    "XGBoost's callback EarlyStopping forgets what it saw when a training is resumed; use "
                    "early_stopping_rounds instead, which does not."
                )

    def before_training(self) -> None:
        """Begin; a callback may replace the model."""
        for callback in self.given:
            with calling("callback", callback, xgb.core.XGBoostError):
                self._trees.booster = _model(callback, callback.before_training(self._trees.booster))

    def before_round(self, index: int, history: History) -> bool:
        """Return whether one of them wants no further round."""
        return self._any(lambda callback: callback.before_iteration(self._trees.booster, index, history))

    def after_round(self, index: int, history: History) -> bool:
        """Return whether one of them wants this to be the last round."""
        return self._any(lambda callback: callback.after_iteration(self._trees.booster, index, history))

    def after_training(self) -> None:
        """All rounds are done; a callback may replace the model."""
        for callback in self.given:
            with calling("callback", callback, xgb.core.XGBoostError):
                self._trees.booster = _model(callback, callback.after_training(self._trees.booster))

    def state(self) -> list[Any]:
        """Return what a checkpoint keeps of each, and what they may have set for the trees to come."""
        return [*super().state(), self._trees.tree_parameters()] if self.given else []

    def load_state(self, states: Sequence[Any]) -> None:
        """Give each back what ``state`` returned."""
        *own, parameters = states
        self._trees.booster.set_param(parameters)
        super().load_state(own)

    def _any(self, ask: Callable[[Any], Any]) -> bool:
        """Return whether one says yes; all are asked, whatever the first one says."""
        wishes = []
        for callback in self.given:
            with calling("callback", callback, xgb.core.XGBoostError):
                wishes.append(bool(ask(callback)))
        return any(wishes)


def _model(callback: Any, model: Any) -> xgb.Booster:
    if not isinstance(model, xgb.Booster):
        raise InvalidSpec(
            f"The callback {name_of(callback)} must return the model before and after training."
        )
    return model
