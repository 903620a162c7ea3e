"""The frameworks a job can ask for: one line each."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping

from mlpools.errors import InvalidSpec, at_hand
from mlpools.train.job import Job, Outcome


@dataclasses.dataclass(frozen=True)
class Framework:
    """Who trains, and what comes of it.

    Attributes:
        module: with a function ``run(job)``; imported only when it is asked for.
        model: name of the model in the output, a file or a folder.
    """

    module: str
    model: str


#: By the name in ``Task.framework``.
FRAMEWORKS: Mapping[str, Framework] = {
    "xgboost": Framework("mlpools.train.xgboost", "model.ubj"),
    "lightgbm": Framework("mlpools.train.lightgbm", "model.txt"),
    "pytorch": Framework("mlpools.train.pytorch", "model"),
    "script": Framework("mlpools.train.script", "model"),
}


def find(name: str) -> Framework:
    """Return a framework.

    Raises:
        InvalidSpec: there is none of this name.
    """
    if name not in FRAMEWORKS:
        raise InvalidSpec(f"There is no framework {name!r}. {at_hand(name, list(FRAMEWORKS), 'Frameworks')}")
    return FRAMEWORKS[name]


def load(name: str) -> Callable[[Job], Outcome | None]:
    """Import a framework.

    Raises:
        InvalidSpec: there is none of this name, or this image does not have it.
    """
    try:
        run: Callable[[Job], Outcome | None] = importlib.import_module(find(name).module).run
    except ModuleNotFoundError as error:
        raise InvalidSpec(f"This image cannot run {name}: it has no {error.name}.") from error
    return run
