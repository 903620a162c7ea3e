"""What a job says about its boosting with LightGBM, checked before any rank has to wait for it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lightgbm.basic import _ConfigAliases

from mlpools.errors import BadHyperParameter, DataNotReadable, at_hand
from mlpools.refusals import (
    LIGHTGBM_METRICS,
    LIGHTGBM_OBJECTIVES,
    lightgbm_refusal,
)
from mlpools.train.trees.section import Section

_SAMPLE_ROWS = 200_000
#: What follows from the pods, and changes nothing of the model.
_OF_THE_POD = ("num_threads", "verbosity")


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The ``lightgbm`` section of a job's spec.

    Attributes:
        section: what it has in common with other frameworks.
        booster: parameters for ``lightgbm.Booster`` under their main names.
    """

    section: Section
    booster: Mapping[str, Any]

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], *, threads: int) -> Parameters:
        """Read the section as the operator hands it over.

        Raises:
            BadHyperParameter: one parameter is given twice, under two of its names.
        """
        own: dict[str, Any] = {}
        for name, value in spec["params"].items():
            main = main_name(name)
            if main in own:
                raise BadHyperParameter(f"The parameter {name!r} is {main!r}, which is given too: keep one.")
            own[main] = value
        layout = {} if own.get("force_col_wise") else {"force_row_wise": True}
        booster = {
            "objective": spec["objective"],
            "tree_learner": spec.get("treeLearner") or "data",
            "num_threads": threads,
            "deterministic": True,
            "verbosity": -1,
            **layout,
        }
        if spec.get("evalMetrics"):
            booster["metric"] = list(spec["evalMetrics"])
        return cls(Section.from_spec(spec), {**booster, **own})

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must have been made with."""
        params = {name: value for name, value in self.booster.items() if name not in _OF_THE_POD}
        return {"params": params, "patience": self.section.patience}

    @property
    def sample_rows(self) -> int:
        """Rows of all ranks from which the borders of bins are found."""
        return int(self.booster.get("bin_construct_sample_cnt", _SAMPLE_ROWS))

    @property
    def outputs(self) -> int:
        """Numbers that are predicted for each row."""
        return max(1, int(self.booster.get("num_class", 1)))

    @property
    def seed(self) -> int:
        """What LightGBM's own seeds follow from, and the result names."""
        return int(self.booster.get("seed", 0))

    @property
    def data_seed(self) -> int:
        """What the choice of those rows depends on."""
        return abs(int(self.booster.get("data_random_seed", self.booster.get("seed", 1))))

    def over(self, world_size: int) -> dict[str, Any]:
        """Return the parameters of a booster that trains over so many ranks.

        Cross entropy on several ranks begins with 0: LightGBM would begin with the mean of the ranks' log
        odds, which are infinite where a rank has labels of one kind only.
        """
        lonely = world_size == 1 or not self._objective.startswith("cross_entropy")
        return {**self.booster} if lonely else {**self.booster, "boost_from_average": False}

    def of_dataset(self, sample: int) -> dict[str, Any]:
        """Return the parameters of a data set that consists of that sample.

        Features must not be left out because too few rows of the sample differ in them.
        """
        return {**self.booster, "bin_construct_sample_cnt": sample, "feature_pre_filter": False}

    def check(self, data_names: Sequence[str], world_size: int) -> None:
        """Refuse what cannot work, or would give a wrong number without a word.

        Raises:
            InvalidSpec: fields do not fit together.
            BadHyperParameter: a parameter is not for us.
        """
        self.section.check(data_names)
        grouped, margins = bool(self.section.group), bool(self.section.margin)
        refusal = lightgbm_refusal(self.booster, world_size, grouped=grouped, margins=margins)
        if refusal:
            raise BadHyperParameter(refusal)
        objective = str(self.booster["objective"])
        if objective not in LIGHTGBM_OBJECTIVES:
            hint = at_hand(objective, sorted(LIGHTGBM_OBJECTIVES), "Objectives")
            raise BadHyperParameter(f"LightGBM has no objective {objective!r}. {hint}")
        for metric in self.metrics:
            if metric not in LIGHTGBM_METRICS:
                hint = at_hand(metric, sorted(LIGHTGBM_METRICS), "Metrics")
                raise BadHyperParameter(f"LightGBM has no metric {metric!r}. {hint}")

    @property
    def metrics(self) -> list[str]:
        """The metrics asked for; empty = the objective's own."""
        given = self.booster.get("metric", [])
        return [given] if isinstance(given, str) else [str(metric) for metric in given]

    def check_labels(self, labels: np.ndarray, where: str) -> None:
        """Refuse labels that the objective has no meaning for.

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

    @property
    def _objective(self) -> str:
        """The main name of the objective."""
        return LIGHTGBM_OBJECTIVES[str(self.booster["objective"])]

    def _label_range(self) -> tuple[float, float]:
        objective = self._objective
        if objective in ("binary", "cross_entropy", "cross_entropy_lambda"):
            return 0, 1
        if objective in ("multiclass", "multiclassova"):
            return 0, int(self.booster.get("num_class", 1)) - 1
        if objective in ("poisson", "gamma", "tweedie", "lambdarank", "rank_xendcg"):
            return 0, math.inf
        return -math.inf, math.inf


def main_name(name: str) -> str:
    """Return the one name of a parameter that has several; an unknown one stays as it is."""
    return _main_names().get(name, name)


@functools.cache
def _main_names() -> dict[str, str]:
    known = _ConfigAliases._get_all_param_aliases()
    return {alias: name for name, aliases in known.items() for alias in aliases}
