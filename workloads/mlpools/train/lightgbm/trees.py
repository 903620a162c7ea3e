"""One rank's booster, with the rows that it learns from and is measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightgbm as lgb
import numpy as np
from lightgbm.basic import _LIB, _safe_call

from mlpools.data.columns import Columns
from mlpools.train import lightgbm_text
from mlpools.train.collective import Collective
from mlpools.train.lightgbm.dataset import BinnedRows
from mlpools.train.lightgbm.evaluation import Evaluation
from mlpools.train.lightgbm.parameters import Parameters
from mlpools.train.trees.hooks import Hooks, calling
from mlpools.train.trees.importance import Importance
from mlpools.train.trees.progress import Values

#: Raw predictions of a model for this rank's rows of a set, of shape (rows,) or (rows, classes).
RawScores = Callable[[lgb.Booster, str], np.ndarray]


class LightGBMTrees:
    """A ``Trees`` of LightGBM.

    Attributes:
        booster: the model so far.
    """

    def __init__(
        self,
        collective: Collective,
        parameters: Parameters,
        network: Mapping[str, Any],
        sets: Mapping[str, BinnedRows],
        columns: Columns,
        raw_scores: RawScores,
        hooks: Hooks,
    ) -> None:
        self._parameters = {**parameters.over(collective.world_size), **network}
        if hooks.objective is not None:
            self._parameters["objective"] = "none"
        self._objective = hooks.objective
        self._sets = sets
        self._evaluation = Evaluation(collective, sets, hooks)
        self._features = columns.features
        self._raw_scores = raw_scores
        self.baseline = self._constant()
        self.booster = self._begin(self._parameters)

    def update(self, index: int) -> None:
        """Grow the trees of a round."""
        given = self._objective
        if given is None:
            self.booster.update()
            return

        def named(predictions: Any, dataset: lgb.Dataset) -> tuple[Any, Any]:
            with calling("objective", given, lgb.basic.LightGBMError):
                return given(predictions, dataset)

        self.booster.update(fobj=named)

    def evaluate(self, index: int) -> Values:
        """Return the metrics of every set, over the rows of all ranks."""
        return self._evaluation.measure(self.booster)

    def higher_is_better(self, metric: str) -> bool:
        """Whether early stopping waits for a higher value of a metric."""
        return self._evaluation.higher_is_better(metric)

    def save(self) -> bytes:
        """Return the model so far, as text."""
        return lightgbm_text.text(self.booster).encode()

    def load(self, saved: bytes) -> None:
        """Go on from a model that ``save`` returned: its scores are where the next trees begin."""
        before = lgb.Booster(model_str=saved.decode())
        for name, rows in self._sets.items():
            if rows.dataset is not None:
                rows.dataset.set_init_score(self._raw_scores(before, name))
        self.booster = self._begin(self._parameters, before)

    def importance(self, rounds: int) -> dict[str, Importance]:
        """Return what each feature did in the first rounds."""
        gain, splits = (self.booster.feature_importance(kind, rounds) for kind in ("gain", "split"))
        return {
            name: Importance(float(gain[index]), int(splits[index]))
            for index, name in enumerate(self._features)
        }

    def _constant(self) -> Values:
        """Return the metrics of a model without splits, the best constant. A collective call."""
        booster = self._begin({**self._parameters, "boosting": "gbdt", "min_gain_to_split": 1e300})
        if self._objective is None:
            booster.update()
        return self._evaluation.measure(booster)

    def _begin(self, parameters: Mapping[str, Any], before: lgb.Booster | None = None) -> lgb.Booster:
        """Return a booster over the rank's rows, with the trees of another one if there is one."""
        booster = lgb.Booster(dict(parameters), self._sets["train"].dataset)
        if before is not None:
            _safe_call(_LIB.LGBM_BoosterMerge(booster._handle, before._handle))
        for name, rows in self._sets.items():
            if name != "train" and rows.dataset is not None:
                booster.add_valid(rows.dataset, name)
        return booster
