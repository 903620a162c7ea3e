"""Batch inference: predictions of a model for all rows of an input, each of them exactly once.

Rank 0 plans the input, cuts it into shards and hands them out (``lead``); every rank keeps a process that
loads the model and predicts (``keeper``, ``predictor``); the part of a shard is committed once, whoever dies
and whenever (``parts``); a manifest and ``_SUCCESS`` are written last (``finish``). ``run_batch`` starts all
of it from Python (``caller``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlpools import late
from mlpools.contract.ends import Final
from mlpools.inference.settings import Settings
from mlpools.train.job import Job

if TYPE_CHECKING:
    from mlpools.inference.caller import run_batch
    from mlpools.inference.result import BatchResult, FailedRows
    from mlpools.inference.settings import ModelSpec, OutputSpec
    from mlpools.inference.specs import InferenceSpec, InputSpec, ResourcesSpec, SaveMode

#: Public name -> module that has it; workers import this package too, so each is imported when asked for.
_HOMES = {
    "BatchResult": "mlpools.inference.result",
    "FailedRows": "mlpools.inference.result",
    "InferenceSpec": "mlpools.inference.specs",
    "InputSpec": "mlpools.inference.specs",
    "ModelSpec": "mlpools.inference.settings",
    "OutputSpec": "mlpools.inference.settings",
    "ResourcesSpec": "mlpools.inference.specs",
    "SaveMode": "mlpools.inference.specs",
    "run_batch": "mlpools.inference.caller",
}

__all__ = [
    "BatchResult",
    "FailedRows",
    "InferenceSpec",
    "InputSpec",
    "ModelSpec",
    "OutputSpec",
    "ResourcesSpec",
    "SaveMode",
    "run_batch",
]


__getattr__, __dir__ = late.names(__name__, _HOMES)


def run(job: Job) -> Final:
    """Do one rank's work, and return how it ended.

    Raises:
        JobError: with a cause.
    """
    from mlpools.inference.follow import follow
    from mlpools.inference.lead import Lead

    job.reporter.lap("import")
    settings = Settings.from_task(job.task)
    with tempfile.TemporaryDirectory(prefix="mlpools-inference-") as folder:
        if job.gang.leads:
            return Lead(job, settings, Path(folder)).run()
        return follow(job, settings, Path(folder))
