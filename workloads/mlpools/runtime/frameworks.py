"""What a job can ask for: one line each."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping

from mlpools.contract.ends import Final
from mlpools.contract.tasks import INFERENCE
from mlpools.errors import InvalidSpec, at_hand
from mlpools.lean import import_lean
from mlpools.train.job import Job, Outcome


@dataclasses.dataclass(frozen=True)
class Framework:
    """Who does the work, and what comes of it.

    Attributes:
        module: with a function ``run(job)``; imported only when it is asked for.
        model: name of the model in the output, a file or a folder; empty of what trains none, and claims and
            commits its output by itself.
        unused: packages that its libraries import where they are installed, and that our code needs none of.
    """

    module: str
    model: str = ""
    unused: tuple[str, ...] = ()


_FRAMES_AND_ESTIMATORS = ("sklearn", "pandas")


#: By the name in ``Task.framework``.
FRAMEWORKS: Mapping[str, Framework] = {
    "xgboost": Framework("mlpools.train.xgboost", "model.ubj", _FRAMES_AND_ESTIMATORS),
    "lightgbm": Framework("mlpools.train.lightgbm", "model.txt", _FRAMES_AND_ESTIMATORS),
    "pytorch": Framework("mlpools.train.pytorch", "model"),
    "script": Framework("mlpools.train.script", "model"),
    INFERENCE: Framework(
        "mlpools.inference", unused=_FRAMES_AND_ESTIMATORS
    ),  # models have a process of their own
}


def find(name: str) -> Framework:
    """Return a framework.

    Raises:
        InvalidSpec: there is none of this name.
    """
    if name not in FRAMEWORKS:
        raise InvalidSpec(f"There is no framework {name!r}. {at_hand(name, list(FRAMEWORKS), 'Frameworks')}")
    return FRAMEWORKS[name]


def load(name: str, *, alone: bool = False) -> Callable[[Job], Outcome | Final | None]:
    """Import a framework; one without a model returns how its rank ended.

    Args:
        name: of the framework.
        alone: nobody else's code, which may need all that its libraries can do, runs in this process.

    Raises:
        InvalidSpec: there is none of this name, or this image does not have it.
    """
    framework = find(name)
    try:
        if alone and framework.unused:
            module = import_lean(framework.module, framework.unused)
        else:
            module = importlib.import_module(framework.module)
    except ModuleNotFoundError as error:
        raise lacking(name, error) from error
    run: Callable[[Job], Outcome | Final | None] = module.run
    return run


def lacking(name: str, error: ModuleNotFoundError) -> InvalidSpec:
    """Return the failure of a framework whose libraries are not all there; some are imported late."""
    return InvalidSpec(f"This image cannot run {name}: it has no {error.name}.")
