"""What a caller from Python adds to a training of trees: an objective, a metric, callbacks.

A manifest holds only what a text can say; these are functions. Every rank has the same ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlpools.errors import InvalidSpec, JobError, UserCodeError, one_line
from mlpools.train.reporter import log
from mlpools.train.trees.progress import History

#: Predictions and their rows, in the framework's own classes -> gradient and hessian, see ``Hooks``.
Objective = Callable[[Any, Any], tuple[Any, Any]]
#: Predictions and their rows -> name and value of a metric, see ``Hooks``.
Metric = Callable[[Any, Any], tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class Hooks:
    """A caller's functions, each in the form in which the framework's own ``train`` takes it.

    Attributes:
        objective: called on every rank with that rank's rows in each round.

            * XGBoost, as ``obj`` of ``xgboost.train``: ``objective(predictions, matrix)`` with raw margins,
              float32 of shape [rows] or [rows, classes], and the rank's ``xgboost.DMatrix``
              (``get_label()``, ``get_weight()``).
            * LightGBM, as a callable ``params["objective"]``: ``objective(predictions, dataset)`` with raw
              scores, float64 of shape [rows] or [rows, classes], and the rank's ``lightgbm.Dataset``.

            It returns gradient and hessian of the predictions' shape, each of a row's own loss, weighted by
            the function itself; sums over ranks are not its matter.
        metric: called on rank 0 with the rows of all ranks of one set at a time, so its value is the one of
            the whole set. More rows than ``trees.metrics.EXACT_ROWS`` are refused.

            * XGBoost, as ``custom_metric``: ``metric(predictions, matrix) -> (name, value)``. Predictions are
              transformed, but raw with an ``objective``; the ``DMatrix`` has label, weight and groups, but no
              features.
            * LightGBM, as ``feval``: ``metric(predictions, dataset) -> (name, value, higher_is_better)`` with
              such a ``Dataset``.
        maximize: whether a higher value of ``metric`` is better; LightGBM's metrics say that themselves.
        callbacks: called on every rank at the same rounds, whose numbers count from 0 of the whole training,
            also after a resume. The wish of rank 0's to stop counts, that of the others does not.

            * XGBoost: ``xgboost.callback.TrainingCallback``; ``evals_log`` has the metrics over the rows of
              all ranks.
            * LightGBM: ``callback(env)`` with its ``CallbackEnv``; to stop it raises ``EarlyStopException``.

            Checkpoints keep what a callback with ``state_dict()`` and ``load_state_dict(state)`` returns, as
            JSON. One without them begins anew at a resume.
    """

    objective: Objective | None = None
    metric: Metric | None = None
    maximize: bool = False
    callbacks: tuple[Any, ...] = ()

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return bool(self.objective or self.metric or self.callbacks)

    @property
    def identity(self) -> dict[str, str]:
        """The names of the functions that a checkpoint must have been made with; empty without any."""
        given = {"objective": self.objective, "metric": self.metric}
        return {what: name_of(function) for what, function in given.items() if function is not None}


class Callbacks:
    """A caller's callbacks in a framework's hands; this class calls none and keeps their states.

    Attributes:
        given: the caller's, in their order.
    """

    def __init__(self, given: Sequence[Any] = ()) -> None:
        self.given = tuple(given)

    def before_training(self) -> None:
        """Begin, or go on from a checkpoint whose trees are loaded already."""

    def before_round(self, index: int, history: History) -> bool:
        """Return whether one of them wants no further round; rounds count from 0."""
        return False

    def after_round(self, index: int, history: History) -> bool:
        """Return whether one of them wants this to be the last round."""
        return False

    def after_training(self) -> None:
        """All rounds are done."""

    def state(self) -> list[Any]:
        """Return what a checkpoint keeps of each, None of one that keeps nothing.

        Raises:
            InvalidSpec: a state is more than JSON can hold.
        """
        return [_state(callback) if hasattr(callback, "state_dict") else None for callback in self.given]

    def load_state(self, states: Sequence[Any]) -> None:
        """Give each back what ``state`` returned."""
        if len(states) != len(self.given):
            log(
                f"The checkpoint is of {len(states)} callback(s), and now there are {len(self.given)}: "
                "these begin anew."
            )
            return
        for callback, state in zip(self.given, states):
            if state is not None and hasattr(callback, "load_state_dict"):
                with calling("load_state_dict", callback):
                    callback.load_state_dict(state)


@contextlib.contextmanager
def calling(what: str, function: Any, *passing: type[Exception]) -> Iterator[None]:
    """Name the caller's function whose exception passes.

    Args:
        what: the function is, such as ``objective``.
        function: of the caller's.
        passing: the framework's own errors, which pass as they are: a lost peer is no fault of the caller's.

    Raises:
        UserCodeError: instead of it.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (JobError, *passing)):
            raise
        raise UserCodeError(
            f"The {what} {name_of(function)} raised {type(error).__name__}: {one_line(error)}."
        ) from error


def name_of(function: Any) -> str:
    """Return the name under which a person finds a function or an object's class in their code."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _state(callback: Any) -> Any:
    with calling("state_dict", callback):
        state = callback.state_dict()
    try:
        return json.loads(json.dumps(state))  # a copy, which later rounds do not change
    except (TypeError, ValueError) as error:
        raise InvalidSpec(
            f"The state_dict of the callback {name_of(callback)} is not kept: {one_line(error)}. "
            "Return numbers, texts, lists and dicts of them."
        ) from error
