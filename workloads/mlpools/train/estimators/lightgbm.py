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


class LightGBMEstimator(TreesEstimator[lgb.Booster]):
    """Distributed LightGBM."""

    framework = "lightgbm"
    model = "model.txt"
    plain_objective = "regression"

    def __init__(
        self,
        n_estimators: int = 100,
        objective: str | Callable[..., Any] = "regression",
        params: Mapping[str, Any] | None = None,
        scaling_config: LightGBMScalingConfig | None = None,
        callbacks: Sequence[Callable[..., None]] | None = None,
        *,
        custom_metric: Callable[..., Any] | None = None,
    ) -> None:
        """Prepare a training.

        Args:
            n_estimators: boosting rounds.
            objective: a name of LightGBM's, or a function as a callable ``params["objective"]`` of
                ``lightgbm.train``; see ``Hooks``.
            params: LightGBM's own parameters; ``n_estimators`` and ``objective`` in here win.
            scaling_config: how many workers, and with what.
            callbacks: called in the workers; see ``Hooks``.
            custom_metric: a function as ``feval`` of ``lightgbm.train``; see ``Hooks``.
        """
        super().__init__(
            n_estimators, objective, params, scaling_config, callbacks, custom_metric, maximize=False
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
