"""One rank's booster, with the matrices that it learns from and is measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping

import xgboost as xgb

from mlpools.train.trees.progress import Values
from mlpools.train.xgboost.parameters import Parameters


class XGBoostTrees:
    """A ``Trees`` of XGBoost.

    Attributes:
        booster: the model so far.
    """

    def __init__(self, parameters: Parameters, matrices: Mapping[str, xgb.QuantileDMatrix]) -> None:
        self._parameters = dict(parameters.booster)
        self._matrices = matrices
        self.booster = xgb.Booster(self._parameters, cache=list(matrices.values()))

    def update(self, index: int) -> None:
        """Grow the trees of a round."""
        self.booster.update(self._matrices["train"], index)

    def evaluate(self, index: int) -> Values:
        """Return the metrics of every set, over the rows of all ranks."""
        return self._evaluate(self.booster, index)

    def save(self) -> bytes:
        """Return the model so far, in XGBoost's binary JSON."""
        return bytes(self.booster.save_raw("ubj"))

    def load(self, model: bytes) -> None:
        """Go on from a model that ``save`` returned."""
        self.booster.load_model(bytearray(model))
        self.booster.set_param(self._parameters)

    def baseline(self) -> Values:
        """Return the metrics of a model without trees, the best constant. A collective call."""
        score = json.loads(self.booster.save_config())["learner"]["learner_model_param"]["base_score"]
        constant = xgb.Booster({**self._parameters, "base_score": score}, cache=list(self._matrices.values()))
        return self._evaluate(constant, 0)

    def _evaluate(self, booster: xgb.Booster, index: int) -> Values:
        # Numbers instead of the sets' names: XGBoost answers "<name>-<metric>", and both may hold dashes.
        numbered = [(matrix, str(i)) for i, matrix in enumerate(self._matrices.values())]
        names = list(self._matrices)
        values: Values = {name: {} for name in names}
        for item in booster.eval_set(numbered, index).split("\t")[1:]:
            key, _, value = item.rpartition(":")
            number, _, metric = key.partition("-")
            values[names[int(number)]][metric] = float(value)
        return values
