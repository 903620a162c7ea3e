"""What every framework is given, and what it gives back."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from mlpools.contract import Final, Task
from mlpools.errors import JobError
from mlpools.gang import Gang
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
        self.leave(Final(code=error.code, rank=self.gang.rank, message=str(error), traceback=traceback))

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
        files: what goes into the output by its name: the model, its metrics.
        step: finished steps.
        metrics: the final ones, such as ``{"eval-rmse": 17.9}``.
        facts: what ``result.json`` says besides: rows, columns, fingerprint, who read what.
        checkpoint_step: newest checkpoint, 0 = none.
    """

    files: Mapping[str, bytes]
    step: int
    metrics: dict[str, float]
    facts: dict[str, Any]
    checkpoint_step: int = 0


def pretty(document: Mapping[str, Any]) -> bytes:
    """Return a document of the output as JSON that a person can read."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False).encode()
