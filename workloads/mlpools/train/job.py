"""What every framework is given, and what it gives back."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mlpools.contract.ends import Final
from mlpools.contract.tasks import Task
from mlpools.errors import JobError
from mlpools.gang import Gang
from mlpools.train.history import Row
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from mlpools.train.trees.hooks import Hooks


@dataclasses.dataclass(frozen=True)
class Job:
    """One rank's view of the work.

    Attributes:
        task: what to do, the same for all ranks.
        gang: which rank this is, and where the others are.
        reporter: tells how far it is.
        stop: whether it was told to stop.
        hooks: functions of a caller from Python; none in a job from a manifest.
    """

    task: Task
    gang: Gang
    reporter: Reporter
    stop: Stop
    hooks: Hooks = dataclasses.field(default_factory=Hooks)

    def end(self, error: JobError, traceback: str = "") -> NoReturn:
        """End this process with a failure that has a cause, from any thread."""
        told = traceback or "\n".join(getattr(error, "__notes__", ()))
        self.leave(Final(code=error.code, rank=self.gang.rank, message=str(error), traceback=told))

    def leave(self, final: Final) -> NoReturn:
        """End this process at once: destructors of native libraries may wait for peers that are gone."""
        self.reporter.final(final)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(final.code)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A finished training, in the hands of rank 0.

    Attributes:
        files: what goes into the output by its name: the content, or a local file or folder to copy.
        step: finished steps.
        metrics: the final ones, such as ``{"eval-rmse": 17.9}``.
        facts: what ``result.json`` says besides: rows, columns, fingerprint, seed, who read what.
        history: the metrics of every step; they become ``metrics.jsonl`` and the learning curve.
        best_step: step whose model counts, 0 = the last one.
        checkpoint_step: newest checkpoint, 0 = none.
    """

    files: Mapping[str, bytes | Path]
    step: int
    metrics: dict[str, float]
    facts: dict[str, Any]
    history: Sequence[Row] = ()
    best_step: int = 0
    checkpoint_step: int = 0
