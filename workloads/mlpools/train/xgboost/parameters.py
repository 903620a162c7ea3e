"""What a job says about its boosting, checked before any rank has to wait for it."""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xgboost as xgb

from mlpools.data.columns import Columns
from mlpools.errors import BadHyperParameter, DataNotReadable, JobError, PeerLost, at_hand
from mlpools.refusals import (
    XGBOOST_BOOSTERS,
    XGBOOST_METRICS,
    XGBOOST_OBJECTIVES,
    XGBOOST_ONE_RANK_METRICS,
    XGBOOST_REFUSED_OBJECTIVES,
    XGBOOST_REFUSED_PARAMS,
    XGBOOST_TREE_METHODS,
    xgboost_group_refusal,
    xgboost_metric,
)
from mlpools.train.trees.section import Section

_REFUSALS = (xgb.core.XGBoostError, ValueError, TypeError)
_NETWORK = re.compile(
    r"\[(allreduce|allgather|broadcast|coll\w*|comm\w*|socket|loop|tracker|protocol)\.(cc|h)"
)
_ABOUT_DATA = re.compile(r"label|\binf\b|weight", re.IGNORECASE)
#: A label of ``rank:ndcg`` is a power of two in its gain, which XGBoost bounds so.
_HIGHEST_DEGREE = 31
#: Parameters that follow from the machine and change nothing but speed.
MACHINE = frozenset({"nthread", "device"})


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The ``xgboost`` section of a job's spec.

    Attributes:
        section: what it has in common with other frameworks.
        booster: parameters for ``xgboost.Booster``; the user's own win over the section's fields.
    """

    section: Section
    booster: Mapping[str, Any]

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], *, threads: int, device: str = "cpu") -> Parameters:
        """Read the section as the operator hands it over.

        Args:
            spec: the section.
            threads: of this worker.
            device: where nothing is said of it among the user's parameters.
        """
        own = {
            name: int(value) if isinstance(value, bool) else value for name, value in spec["params"].items()
        }
        booster = {
            "nthread": threads,
            "device": device,
            "objective": spec["objective"],
            "tree_method": "hist",
        }
        if spec.get("evalMetrics"):
            booster["eval_metric"] = list(spec["evalMetrics"])
        return cls(Section.from_spec(spec), {**booster, **own})

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must have been made with."""
        return {
            "params": {k: v for k, v in self.booster.items() if k not in MACHINE},
            "patience": self.section.patience,
        }

    def check(self, data_names: Sequence[str], world_size: int) -> None:
        """Refuse what cannot work, or would give a wrong number without a word.

        Raises:
            InvalidSpec: fields do not fit together.
            BadHyperParameter: a parameter is not for us.
        """
        self.section.check(data_names)
        for name, why in XGBOOST_REFUSED_PARAMS.items():
            if name in self.booster:
                raise BadHyperParameter(f"The parameter {name!r} cannot be set: {why}.")
        objective = str(self.booster["objective"])
        if objective.startswith(XGBOOST_REFUSED_OBJECTIVES):
            raise BadHyperParameter(
                f"The objective {objective!r} needs bounds of labels or the order of all rows, which no rank "
                "has; use an objective of single rows, such as reg:squarederror or binary:logistic."
            )
        self._check_names(objective)
        if self.booster["tree_method"] not in XGBOOST_TREE_METHODS:
            raise BadHyperParameter("tree_method must be hist: the others do not work on several nodes.")
        if self.booster.get("booster", "gbtree") not in XGBOOST_BOOSTERS:
            raise BadHyperParameter("booster must be gbtree or dart.")
        section = self.section
        refusal = xgboost_group_refusal(
            objective, self.metrics, group=bool(section.group), weight=bool(section.weight)
        )
        if refusal:
            raise BadHyperParameter(refusal)
        if section.margin and int(self.booster.get("num_class", 0)) > 1:
            raise BadHyperParameter(
                f"baseMargin is one number a row, and {objective!r} has one for each class: leave it out."
            )
        for metric in self.metrics:
            if xgboost_metric(metric) in XGBOOST_ONE_RANK_METRICS and world_size > 1:
                raise BadHyperParameter(
                    f"The metric {metric!r} depends on the order of all rows, but XGBoost only averages the "
                    "ranks' own values. Use logloss, error or rmse, or nodes: 1."
                )

    def _check_names(self, objective: str) -> None:
        usable = sorted(it for it in XGBOOST_OBJECTIVES if not it.startswith(XGBOOST_REFUSED_OBJECTIVES))
        if objective not in usable:
            hint = at_hand(objective, usable, "Objectives")
            raise BadHyperParameter(f"XGBoost has no objective {objective!r}. {hint}")
        for metric in self.metrics:
            if xgboost_metric(metric) not in XGBOOST_METRICS:
                hint = at_hand(metric, sorted(XGBOOST_METRICS), "Metrics")
                raise BadHyperParameter(f"XGBoost has no metric {metric!r}. {hint}")

    def check_labels(self, labels: np.ndarray, where: str) -> None:
        """Refuse labels that the objective has no meaning for; XGBoost's own words do not name the column.

        Raises:
            DataNotReadable: with the column and the range that was found.
        """
        low, high = self._label_range()
        if len(labels) and (labels.min() < low or labels.max() > high):
            allowed = f"{low:g} and more" if high == math.inf else f"{low:g} to {high:g}"
            raise DataNotReadable(
                f"{where}: the label column {self.section.label!r} has values from {labels.min():g} "
                f"to {labels.max():g}, but {self.booster['objective']} takes {allowed}."
            )

    def _label_range(self) -> tuple[float, float]:
        objective = str(self.booster["objective"])
        if objective.startswith("binary:") or objective == "rank:map":
            return 0, 1
        if objective == "rank:ndcg" and self.booster.get("ndcg_exp_gain", True) not in (0, "0", "false"):
            return 0, _HIGHEST_DEGREE
        if objective.startswith("multi:"):
            return 0, int(self.booster.get("num_class", 1)) - 1
        if objective.startswith(("count:", "reg:gamma", "reg:tweedie", "rank:ndcg")):
            return 0, math.inf
        return -math.inf, math.inf

    @property
    def seed(self) -> int:
        """Of all that is drawn by chance."""
        return int(self.booster.get("seed", 0))

    @property
    def metrics(self) -> list[str]:
        """The metrics asked for; empty = the objective's own."""
        given = self.booster.get("eval_metric", [])
        return [given] if isinstance(given, str) else [str(metric) for metric in given]

    def of_booster(self, measured_elsewhere: Sequence[str]) -> dict[str, Any]:
        """Return the parameters of the booster that trains, which leaves some metrics to others."""
        booster, kept = dict(self.booster), [it for it in self.metrics if it not in measured_elsewhere]
        if kept:
            booster["eval_metric"] = kept
        elif self.metrics:
            del booster["eval_metric"]
            booster["disable_default_eval_metric"] = 1
        return booster


def rehearse(parameters: Parameters, columns: Columns) -> None:
    """Train one round on two rows, so that a bad parameter shows in milliseconds and before the gang forms.

    Raises:
        BadHyperParameter: XGBoost refuses, does not know or cannot honour a parameter.
        DataNotReadable: it refuses the columns.
    """
    try:
        _two_rows(columns, bins=None)
    except _REFUSALS as error:  # such as names with brackets
        raise DataNotReadable(f"XGBoost refuses the columns: {plain(error)}") from error
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            booster = _one_round(parameters.booster, columns)
        except _REFUSALS as error:
            name = _guilty(parameters.booster, columns)
            which = f"the parameter {name!r}" if name else "the parameters"
            raise BadHyperParameter(f"XGBoost refuses {which}: {plain(error)}") from error
    for warning in heard:
        text = str(warning.message)
        unknown = re.search(r'Parameters: \{ "?([^" ,}]+)', text)
        if unknown:
            hint = at_hand(unknown[1], _known(booster.save_config()), "Parameters")
            raise BadHyperParameter(f"XGBoost does not know the parameter {unknown[1]!r}. {hint}")
        if "Device is changed" in text:
            raise BadHyperParameter("device asks for a GPU, but this node has none. Leave it out or set cpu.")


def _two_rows(columns: Columns, bins: int | None) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(
        np.zeros((2, len(columns.features)), dtype=np.float32),
        label=np.ones(2),
        qid=np.zeros(2, np.uint32) if columns.group else None,
        feature_names=list(columns.features),
        feature_types=list(columns.kinds),
        max_bin=bins,
        enable_categorical=True,
    )


def _one_round(parameters: Mapping[str, Any], columns: Columns) -> xgb.Booster:
    matrix = _two_rows(columns, bins=parameters.get("max_bin"))
    booster = xgb.Booster(dict(parameters), cache=[matrix])
    booster.update(matrix, 0)
    booster.eval_set([(matrix, "train")], 0)
    return booster


def _guilty(parameters: Mapping[str, Any], columns: Columns) -> str:
    """Return the parameter without which all is well: XGBoost's messages often do not name it."""
    for name in parameters:
        try:
            _one_round({key: value for key, value in parameters.items() if key != name}, columns)
        except _REFUSALS:
            continue
        return name
    return ""


def translate(error: xgb.core.XGBoostError) -> JobError:
    """Return what an error of XGBoost's means: a lost peer, unusable data, or a bad parameter."""
    if _NETWORK.search(str(error)):
        return PeerLost("Another rank does not answer any more.")
    kind = DataNotReadable if _ABOUT_DATA.search(plain(error)) else BadHyperParameter
    return kind(f"XGBoost: {plain(error)}")


def plain(error: Exception) -> str:
    """Return an error of XGBoost's as one line without places in its source and without its stack."""
    text = str(error).partition("Stack trace:")[0]
    text = re.sub(r"\[\d\d:\d\d:\d\d\] \S+?:\d+: ", "", text)
    return " ".join(text.split())[:500]


def _known(config: str) -> list[str]:
    """Return the names of a configuration's parameters."""
    return sorted({name for name in re.findall(r'"(\w+)":"', config) if name != "name"})
