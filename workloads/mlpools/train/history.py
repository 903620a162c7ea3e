"""The metrics of every step, one line each: ``{"step": 3, "train-rmse": 17.9, "eval-rmse": 18.4}``.

Object stores cannot append to an object, and the output may still hold an older result that only the new one
replaces. So while a job is at work its history lies beside its logs, written anew with each checkpoint; the
whole of it becomes ``metrics.jsonl`` of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlpools.contract.tasks import Task
from mlpools.errors import OutputNotWritable
from mlpools.storage import locate
from mlpools.train.documents import lines
from mlpools.train.reporter import log

METRICS = "metrics.jsonl"

#: A step's number under ``step``, and its metrics by their names.
Row = Mapping[str, Any]


def keep(task: Task, rows: Sequence[Row]) -> None:
    """Write the history of an unfinished job, for whoever looks into a job that runs or has failed.

    It is no part of the work: a place that refuses is said in the log, and training goes on.
    """
    if not rows:
        return
    place = locate(str(task.output["url"])).child(f"logs/attempt-{task.attempt}/{METRICS}")
    try:
        place.write(lines(rows))
    except OutputNotWritable as error:
        log(f"the metrics so far could not be kept: {error}")
