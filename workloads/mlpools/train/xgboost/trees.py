"""One rank's booster, with the matrices that it learns from and is measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xgboost as xgb

from mlpools.train.collective import Collective
from mlpools.train.trees.hooks import Hooks, Objective, calling
from mlpools.train.trees.importance import Importance
from mlpools.train.trees.progress import Values
from mlpools.train.xgboost.evaluation import Evaluation, Held, distributed_areas
from mlpools.train.xgboost.parameters import Parameters

_HIGHER_IS_BETTER = frozenset({"auc", "aucpr", "pre", "ndcg", "map"})


class XGBoostTrees:
    """A ``Trees`` of XGBoost.

    Attributes:
        booster: the model so far.
    """

    def __init__(
        self, collective: Collective, parameters: Parameters, sets: Mapping[str, Held], hooks: Hooks
    ) -> None:
        self._parameters = parameters.of_booster(distributed_areas(parameters, collective.world_size))
        self._evaluation = Evaluation(collective, parameters, sets, hooks)
        self._matrices = {name: held.matrix for name, held in sets.items()}
        self._hooks = hooks
        self.booster = xgb.Booster(self._parameters, cache=list(self._matrices.values()))

    def update(self, index: int) -> None:
        """Grow the trees of a round."""
        self.booster.update(self._matrices["train"], index, fobj=self._objective)

    def evaluate(self, index: int) -> Values:
        """Return the metrics of every set, over the rows of all ranks."""
        return self._evaluation.measure(self.booster, index)

    def higher_is_better(self, metric: str) -> bool:
        """Whether early stopping waits for a higher value of a metric."""
        if metric == self._evaluation.of_caller:
            return self._hooks.maximize
        return metric.partition("@")[0] in _HIGHER_IS_BETTER

    def save(self) -> bytes:
        """Return the model so far, in XGBoost's binary JSON."""
        return bytes(self.booster.save_raw("ubj"))

    def load(self, model: bytes) -> None:
        """Go on from a model that ``save`` returned."""
        self.booster.load_model(bytearray(model))
        self.booster.set_param(self._parameters)

    def tree_parameters(self) -> dict[str, Any]:
        """Return how trees are grown at present, such as ``eta``; a callback may have changed that."""
        config = json.loads(self.booster.save_config())["learner"]["gradient_booster"]
        parameters: dict[str, Any] = config.get("gbtree", config)["tree_train_param"]  # dart holds a gbtree
        return parameters

    def baseline(self) -> Values:
        """Return the metrics of a model without trees, the best constant. A collective call."""
        score = json.loads(self.booster.save_config())["learner"]["learner_model_param"]["base_score"]
        constant = xgb.Booster({**self._parameters, "base_score": score}, cache=list(self._matrices.values()))
        return self._evaluation.measure(constant, 0)

    def importance(self, rounds: int) -> dict[str, Importance]:
        """Return what each feature did in the first rounds."""
        counted = self.booster[:rounds]
        gain, splits = (counted.get_score(importance_type=kind) for kind in ("total_gain", "weight"))
        return {
            name: Importance(float(gain.get(name, 0.0)), int(splits.get(name, 0)))
            for name in self.booster.feature_names
        }

    @property
    def _objective(self) -> Objective | None:
        """The caller's objective, with its errors named."""
        given = self._hooks.objective
        if given is None:
            return None

        def named(predictions: Any, matrix: xgb.DMatrix) -> tuple[Any, Any]:
            with calling("objective", given, xgb.core.XGBoostError):
                return given(predictions, matrix)

        return named
