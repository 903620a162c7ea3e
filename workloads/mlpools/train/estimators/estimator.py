"""What the estimators of all frameworks of boosted trees have in common."""

from __future__ import annotations

import abc
import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pyarrow as pa

from mlpools.data.columns import Columns
from mlpools.errors import InvalidSpec
from mlpools.train.estimators import gangs
from mlpools.train.estimators.narrator import Narrator
from mlpools.train.estimators.predicting import predict
from mlpools.train.estimators.rows import Roles, connected, held_out, is_labels, labelled
from mlpools.train.scaling import ScalingConfig
from mlpools.train.sent import pack
from mlpools.train.trees.hooks import Hooks

Booster = TypeVar("Booster")

#: Parameters that say how often to boost, as the libraries' own functions and classes call it.
_ROUNDS = ("n_estimators", "num_boost_round", "num_iterations", "n_iter", "num_round", "num_rounds")
_PATIENCE = "early_stopping_rounds"
#: Parameters that choose a device, and how their values begin that choose a GPU.
_DEVICE = ("device", "device_type")
_GPUS = ("cuda", "gpu")


class TreesEstimator(abc.ABC, Generic[Booster]):
    """A distributed training of boosted trees.

    Where this program is part of a Ray cluster the workers are spread over its nodes, else they are processes
    of this machine. Both run the code of a TrainingJob: the same parameters, data and number of workers give
    the same model, byte for byte.
    """

    #: Name of the worker code, and of the model in its output.
    framework: ClassVar[str]
    model: ClassVar[str]
    #: Objective where the caller's own is a function.
    plain_objective: ClassVar[str]

    def __init__(
        self,
        n_estimators: int,
        objective: str | Callable[..., Any],
        params: Mapping[str, Any] | None,
        scaling_config: ScalingConfig | None,
        callbacks: Sequence[Any] | None,
        custom_metric: Callable[..., Any] | None,
        *,
        maximize: bool,
    ) -> None:
        self.n_estimators = n_estimators
        self.objective = objective
        self.params = dict(params or {})
        self.scaling_config = scaling_config or ScalingConfig()
        self.callbacks = list(callbacks or [])
        self.custom_metric = custom_metric
        self.maximize = maximize
        self._booster: Booster | None = None
        self._columns: Columns | None = None
        self._history: dict[str, dict[str, list[float]]] = {}

    def fit(
        self,
        dataset: Any,
        input_cols: Sequence[str] | Any = None,
        label_col: str | None = None,
        eval_set: Any = None,
        verbose_eval: bool | int | None = None,
        *,
        weight_col: str | None = None,
        group_col: str | None = None,
        base_margin_col: str | None = None,
        early_stopping_rounds: int | None = None,
        checkpoint_url: str | None = None,
        checkpoint_rounds: int = 10,
    ) -> Booster:
        """Train a model.

        Also callable as ``fit(X, y)`` and ``fit(X, y, eval_set=[(X, y)])``.

        Args:
            dataset: a ``DataConnector``, or a frame of pandas, polars, Arrow or whatever exports an Arrow
                stream. Columns of text, and categories of pandas or Arrow, are categories.
            input_cols: to learn from, in this order; by default every column with no other part.
            label_col: to predict.
            eval_set: to measure the model on after each round: one set, several in a list, or a mapping from
                names to sets. The first one decides about stopping early.
            verbose_eval: print the metrics of every round (True) or of every so many. By default a bar where
                somebody watches.
            weight_col: how much a row counts.
            group_col: rows with equal values are ranked together.
            base_margin_col: what the model starts from.
            early_stopping_rounds: stop after so many rounds in which the last metric did not improve.
            checkpoint_url: save the unfinished model there, and go on from what is there already.
            checkpoint_rounds: save after every so many rounds.

        Returns:
            The model in its framework's own class.

        Raises:
            JobError: with a cause; see ``mlpools.errors``.
        """
        if is_labels(input_cols):
            source, roles = labelled(dataset, input_cols)
        elif not label_col:
            raise InvalidSpec("fit needs label_col, the name of the column to predict, or labels: fit(X, y).")
        else:
            source, roles = connected(dataset), Roles(label_col, _names(input_cols))
        roles = dataclasses.replace(
            roles, weight=weight_col or "", group=group_col or "", base_margin=base_margin_col or ""
        )
        sets = held_out(eval_set, roles, with_labels=is_labels(input_cols))
        verbose = None if verbose_eval is None else int(verbose_eval)
        spec = self._spec(roles, early_stopping_rounds, verbose or 0)
        files = gangs.train(
            gangs.Work(
                framework=self.framework,
                spec=spec,
                names=("train", *sets),
                hooks=pack("objective, metric or callbacks", self._hooks()),
                checkpoint={"url": checkpoint_url, "everyRounds": checkpoint_rounds}
                if checkpoint_url
                else {},
                use_gpu=self._uses_gpu(),
            ),
            {"train": source, **sets},
            roles.all,
            self.scaling_config,
            Narrator(verbose),
        )
        self._columns = Columns.from_json(json.dumps(json.loads(files["result.json"])["columns"]))
        self._history = _curves(files["metrics.jsonl"], names=("train", *sets))
        self._booster = self._load(files[self.model])
        return self._booster

    def predict(self, dataset: Any, *, prediction_col: str = "prediction") -> Any:
        """Return rows with a column of predictions, of the model's best round where it stopped early.

        Over a Ray cluster its nodes each predict a part of the rows; the order of rows is kept.

        Args:
            dataset: with the columns that the model has learned from; others are passed on.
            prediction_col: name of the new column: a number for each row, or a list of one for each class.

        Returns:
            A frame as ``dataset`` is one; a connector for a connector, an array for an array.

        Raises:
            DataNotReadable: a column is absent, of another type than in training, or has the new name.
            InvalidSpec: nothing was trained.
        """
        booster = self.get_booster()
        assert self._columns is not None
        return predict(dataset, self._predictor(booster, self._columns), self._columns, prediction_col)

    def get_booster(self) -> Booster:
        """Return the trained model in its framework's own class.

        Raises:
            InvalidSpec: nothing was trained.
        """
        if self._booster is None:
            raise InvalidSpec("This estimator has no model yet; call fit first.")
        return self._booster

    def get_eval_results(self) -> dict[str, dict[str, list[float]]]:
        """Return the metrics of every round: ``{"train": {"rmse": […]}, "eval": {"rmse": […]}}``.

        Raises:
            InvalidSpec: nothing was trained.
        """
        self.get_booster()
        return self._history

    @abc.abstractmethod
    def _load(self, model: bytes) -> Booster:
        """Return a model from the file that training has left."""

    @staticmethod
    @abc.abstractmethod
    def _predictor(booster: Booster, columns: Columns) -> Callable[[pa.Table], np.ndarray]:
        """Return a picklable function from rows to predictions of shape [rows] or [rows, classes]."""

    def _uses_gpu(self) -> bool:
        chosen = self.scaling_config.use_gpu
        device = next((str(self.params[name]) for name in _DEVICE if name in self.params), "")
        return device.startswith(_GPUS) if chosen is None else chosen

    def _hooks(self) -> Hooks:
        objective = self.params.get("objective", self.objective)
        return Hooks(
            objective=objective if callable(objective) else None,
            metric=self.custom_metric,
            maximize=self.maximize,
            callbacks=tuple(self.callbacks),
        )

    def _spec(self, roles: Roles, patience: int | None, log_rounds: int) -> dict[str, Any]:
        """Return the section of the framework as in a manifest."""
        params = dict(self.params)
        objective = params.pop("objective", self.objective)
        rounds = [params.pop(name) for name in _ROUNDS if name in params]
        stopping = params.pop(_PATIENCE, None)
        patience = patience if patience is not None else stopping
        return {
            "rounds": rounds[-1] if rounds else self.n_estimators,
            "objective": self.plain_objective if callable(objective) else objective,
            "params": params,
            "label": roles.label,
            "features": list(roles.features),
            "weight": roles.weight,
            "groupColumn": roles.group,
            "baseMargin": roles.base_margin,
            "earlyStoppingRounds": patience or 0,
            "logRounds": log_rounds,
        }


def _curves(lines: bytes, names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return data set -> metric -> value of every round, from ``metrics.jsonl`` of an output."""
    curves: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for line in lines.splitlines():
        for key, value in json.loads(line).items():
            owner = max((name for name in names if key.startswith(f"{name}-")), key=len, default="")
            if owner:
                curve = curves[owner].setdefault(key.removeprefix(f"{owner}-"), [])
                curve.append(math.nan if value is None else value)
    return curves


def _names(given: Sequence[str] | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())
