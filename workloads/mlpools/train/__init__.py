"""Training: what a rank of a gang does between its data and its model, and the ways to it from Python.

Workers import this package too, so the libraries behind a name are imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpools import late

if TYPE_CHECKING:
    from mlpools.train.estimators.lightgbm import LightGBMEstimator
    from mlpools.train.estimators.xgboost import XGBEstimator
    from mlpools.train.pytorch.distributor import (
        PyTorchDistributor,
        PyTorchScalingConfig,
        WorkerResourceConfig,
    )
    from mlpools.train.scaling import LightGBMScalingConfig, XGBScalingConfig

#: Public name -> module that has it.
_HOMES = {
    "LightGBMEstimator": "mlpools.train.estimators.lightgbm",
    "LightGBMScalingConfig": "mlpools.train.scaling",
    "PyTorchDistributor": "mlpools.train.pytorch.distributor",
    "PyTorchScalingConfig": "mlpools.train.pytorch.distributor",
    "WorkerResourceConfig": "mlpools.train.pytorch.distributor",
    "XGBEstimator": "mlpools.train.estimators.xgboost",
    "XGBScalingConfig": "mlpools.train.scaling",
}

__all__ = [
    "LightGBMEstimator",
    "LightGBMScalingConfig",
    "PyTorchDistributor",
    "PyTorchScalingConfig",
    "WorkerResourceConfig",
    "XGBEstimator",
    "XGBScalingConfig",
]


__getattr__, __dir__ = late.names(__name__, _HOMES)
