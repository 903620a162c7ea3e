"""``mlpools.report``: how far a script is, for the job's status. Standard library only, in any image."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from mlpools.contract.wiring import REPORT_PIPE_ENV

#: Linux writes so much into a pipe at once, so that lines of several processes never mix.
_LINE_BYTES = 4096


def report(step: int, *, total: int = 0, metrics: Mapping[str, Any] | None = None) -> None:
    """Tell the job's status that a step is finished. Outside of a job it does nothing.

    Every rank may call it; rank 0's values are those that people see, and become ``metrics.jsonl``. A rank
    that has called it once, and then not for ``hangTimeoutSeconds``, counts as hung.

    Args:
        step: number of the finished step; it never falls.
        total: of all steps, for percent and time left; 0: unknown.
        metrics: numbers by name, such as ``{"loss": 0.31}``.

    Raises:
        ValueError: a metric is no number, or all of it is more than 4,096 bytes.
    """
    path = os.environ.get(REPORT_PIPE_ENV)
    if not path:
        return
    values = {str(name): float(value) for name, value in (metrics or {}).items()}
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    line = json.dumps({"step": int(step), "totalSteps": int(total), "metrics": finite}).encode() + b"\n"
    if len(line) > _LINE_BYTES:
        raise ValueError(f"A report takes {len(line)} bytes, and at most {_LINE_BYTES} are taken.")
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # nobody listens any more
        return
    try:
        os.write(pipe, line)
    except BlockingIOError:  # thousands of steps are unread: the next one tells as much
        pass
    finally:
        os.close(pipe)
