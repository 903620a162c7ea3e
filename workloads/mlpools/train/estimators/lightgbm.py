"""``LightGBMEstimator``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa

from mlpools.data.columns import Columns
from mlpools.errors import InvalidSpec
from mlpools.train.estimators.estimator import TreesEstimator
from mlpools.train.lightgbm.dataset import matrix
from mlpools.train.scaling import LightGBMScalingConfig
from mlpools.train.trees.hooks import Hooks


class LightGBMEstimator(TreesEstimator[lgb.Booster]):
    """Distributed LightGBM."""

    framework = "lightgbm"
    model = "model.txt"
    plain_objective = "regression"

    def __init__(
        self,
        n_estimators: int = 100,
        objective: str = "regression",
        params: Mapping[str, Any] | None = None,
        scaling_config: LightGBMScalingConfig | None = None,
        callbacks: Sequence[Callable[..., None]] | None = None,
    ) -> None:
        """Prepare a training.

        Args:
            n_estimators: boosting rounds.
            objective: a name of LightGBM's.
            params: LightGBM's own parameters; ``n_estimators`` and ``objective`` in here win.
            scaling_config: how many workers, and with what.
            callbacks: none are possible.

        Raises:
            InvalidSpec: functions of the caller's are given, which LightGBM's workers cannot call.
        """
        super().__init__(n_estimators, objective, params, scaling_config, callbacks, None, maximize=False)
        if self._hooks() != Hooks():
            raise InvalidSpec(
                "LightGBM's workers call no functions of yours: name an objective, and stop with "
                "early_stopping_rounds, or use XGBEstimator."
            )

    def _load(self, model: bytes) -> lgb.Booster:
        return lgb.Booster(model_str=model.decode())

    @staticmethod
    def _predictor(booster: lgb.Booster, columns: Columns) -> Callable[[pa.Table], np.ndarray]:
        if columns.margin:
            raise InvalidSpec(
                f"LightGBM predicts without the base margin {columns.margin!r}: use "
                "get_booster().predict(…, raw_score=True) and add it yourself."
            )
        return _Predictor(booster, columns)


@dataclasses.dataclass(frozen=True)
class _Predictor:
    """Predicts with the rounds of the model's file, which end with the best one."""

    booster: lgb.Booster
    columns: Columns

    def __call__(self, rows: pa.Table) -> np.ndarray:
        features, _ = self.columns.inputs(rows)
        if not features.num_rows:
            return np.empty(0)
        predictions: np.ndarray = np.asarray(self.booster.predict(matrix(features)))
        return predictions
