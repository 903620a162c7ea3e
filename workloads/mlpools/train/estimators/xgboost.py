"""``XGBEstimator``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost as xgb

from mlpools.data.columns import Columns
from mlpools.train.estimators.estimator import TreesEstimator
from mlpools.train.scaling import XGBScalingConfig


class XGBEstimator(TreesEstimator[xgb.Booster]):
    """Distributed XGBoost."""

    framework = "xgboost"
    model = "model.ubj"
    plain_objective = "reg:squarederror"

    def __init__(
        self,
        n_estimators: int = 100,
        objective: str | Callable[..., Any] = "reg:squarederror",
        params: Mapping[str, Any] | None = None,
        scaling_config: XGBScalingConfig | None = None,
        callbacks: Sequence[xgb.callback.TrainingCallback] | None = None,
        *,
        custom_metric: Callable[..., Any] | None = None,
        maximize: bool = False,
    ) -> None:
        """Prepare a training.

        Args:
            n_estimators: boosting rounds.
            objective: a name of XGBoost's, or a function as ``obj`` of ``xgboost.train``; see ``Hooks``.
            params: XGBoost's own parameters; ``n_estimators`` and ``objective`` in here win.
            scaling_config: how many workers, and with what.
            callbacks: called in the workers; see ``Hooks``.
            custom_metric: a function as ``custom_metric`` of ``xgboost.train``; see ``Hooks``.
            maximize: whether a higher value of it is better.
        """
        super().__init__(
            n_estimators, objective, params, scaling_config, callbacks, custom_metric, maximize=maximize
        )

    def _load(self, model: bytes) -> xgb.Booster:
        booster = xgb.Booster()
        booster.load_model(bytearray(model))
        return booster

    @staticmethod
    def _predictor(booster: xgb.Booster, columns: Columns) -> Callable[[pa.Table], np.ndarray]:
        return _Predictor(booster, columns)


@dataclasses.dataclass(frozen=True)
class _Predictor:
    """Predicts with the rounds up to the best one."""

    booster: xgb.Booster
    columns: Columns

    def __call__(self, rows: pa.Table) -> np.ndarray:
        rounds = (0, int(self.booster.attr("best_iteration") or -1) + 1)
        features, _ = self.columns.inputs(rows)
        given = self.columns.margin in rows.column_names
        matrix = xgb.DMatrix(
            features,
            base_margin=rows.column(self.columns.margin).to_numpy() if given else None,
            feature_types=list(self.columns.kinds),
            enable_categorical=True,
        )
        predictions: np.ndarray = self.booster.predict(matrix, iteration_range=rounds)
        return predictions
