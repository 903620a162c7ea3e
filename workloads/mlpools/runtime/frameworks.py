"""The frameworks a job can ask for: one line each."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from mlpools.errors import InvalidSpec, at_hand
from mlpools.train.job import Job, Outcome

#: Name in ``Task.framework`` -> module with a function ``run(job)``. Imported only when it is asked for.
FRAMEWORKS: Mapping[str, str] = {
    "xgboost": "mlpools.train.xgboost",
}


def load(name: str) -> Callable[[Job], Outcome | None]:
    """Import a framework.

    Raises:
        InvalidSpec: there is none of this name, or this image does not have it.
    """
    if name not in FRAMEWORKS:
        raise InvalidSpec(f"There is no framework {name!r}. {at_hand(name, list(FRAMEWORKS), 'Frameworks')}")
    try:
        run: Callable[[Job], Outcome | None] = importlib.import_module(FRAMEWORKS[name]).run
    except ModuleNotFoundError as error:
        raise InvalidSpec(f"This image cannot run {name}: it has no {error.name}.") from error
    return run
