"""What a job says about its trees in the same words for every framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from mlpools.errors import InvalidSpec


@dataclasses.dataclass(frozen=True)
class Section:
    """The common fields of the ``xgboost`` and ``lightgbm`` sections of a job's spec.

    Attributes:
        rounds: boosting rounds to finish.
        label: name of the label column.
        weight: name of the weight column, empty without.
        margin: name of the column of base margins, from which the trees go on, empty without.
        group: name of the column whose equal values make a query to rank within, empty without.
        features: to learn from, all others by default.
        excluded: not to learn from.
        patience: stop after so many rounds without a better metric; 0 = never.
        log_rounds: write the metrics of every so many rounds into the log; 0 = now and then.
    """

    rounds: int
    label: str
    weight: str = ""
    margin: str = ""
    group: str = ""
    features: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    patience: int = 0
    log_rounds: int = 0

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Section:
        """Read the section as the operator hands it over."""
        return cls(
            rounds=int(spec["rounds"]),
            label=spec["label"],
            weight=spec.get("weight") or "",
            margin=spec.get("baseMargin") or "",
            group=spec.get("groupColumn") or "",
            features=tuple(spec.get("features") or ()),
            excluded=tuple(spec.get("excluded") or ()),
            patience=int(spec.get("earlyStoppingRounds") or 0),
            log_rounds=int(spec.get("logRounds") or 0),
        )

    def check(self, data_names: Collection[str]) -> None:
        """Refuse fields that do not fit together.

        Raises:
            InvalidSpec: nothing is held out to stop early by.
        """
        if self.patience and len(data_names) < 2:
            raise InvalidSpec(
                "earlyStoppingRounds needs a second data set beside train, such as data.eval (from Python: "
                "eval_set)."
            )

    def watched(self, data_names: Collection[str]) -> str:
        """Return the set whose last metric decides about stopping early; empty if none does."""
        others = [name for name in data_names if name != "train"]
        return ("eval" if "eval" in others else others[-1]) if self.patience else ""
