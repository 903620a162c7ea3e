"""What a program tells about its steps: to the job's status, and line by line to its result."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpools.errors import InvalidSpec
from mlpools.train.job import Job
from mlpools.train.own_time import OwnTime
from mlpools.train.reporter import log

_REPORTED_METRICS = 16
_LOG_SECONDS = 5.0


class MetricsReporter:
    """Reports finished steps. Every rank may call it; rank 0's values are those that people see.

    A rank that reports a step is not hung, so all ranks should report. They are compared, too: between two
    reports the thread that makes them works, or sleeps because it waits for the others.

    Args:
        job: whose steps they are.
        file: where rank 0's lines are kept until the result is committed.

    Attributes:
        reported: this attempt has reported a step, so that from now on steps show whether it hangs.
    """

    def __init__(self, job: Job, file: Path) -> None:
        self.reported = False
        self._job = job
        self._file = file
        self._step = 0
        self._first: tuple[int, float] | None = None
        self._next_line = 0.0
        self._own_time = OwnTime()

    @property
    def step(self) -> int:
        """The newest reported step, 0 = none."""
        return self._step

    def log_metrics(
        self, metrics: Mapping[str, Any], *, step: int | None = None, total_steps: int = 0
    ) -> None:
        """Report a finished step.

        Args:
            metrics: numbers by name, also tensors of one value.
            step: its number, from 1; by default one more than the last one's.
            total_steps: for percent and time left; 0 = unknown.

        Raises:
            InvalidSpec: a value is no number, or the step is before the last one.
        """
        number = self._step + 1 if step is None else int(step)
        if number < self._step:
            raise InvalidSpec(f"log_metrics was told step {number} after step {self._step}.")
        values = {str(name): _number(name, value) for name, value in metrics.items()}
        self._own_time.lap(number - self._step)
        self._step, self.reported = number, True
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._job.reporter.step(
            step=number,
            total_steps=total_steps or None,
            eta_seconds=self._seconds_left(total_steps),
            metrics=dict(list(finite.items())[:_REPORTED_METRICS]),
            own_seconds=self._own_time.seconds,
            message="",
        )
        if self._job.gang.leads:
            self._keep({"step": number, **values})

    def rows(self) -> list[dict[str, Any]]:
        """Return all lines so far, those of earlier attempts too."""
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text(encoding="utf-8").splitlines()]

    def restore(self, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        """Go on after the lines of a checkpoint."""
        self._step = step
        self._file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    def _keep(self, row: dict[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(f"{json.dumps(row)}\n")
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LOG_SECONDS
            shown = ", ".join(f"{name} {value:.6g}" for name, value in row.items() if name != "step")
            log(f"step {row['step']}, {shown}".rstrip(", "))

    def _seconds_left(self, total_steps: int) -> float | None:
        now = time.monotonic()
        if self._first is None:
            self._first = (self._step, now)
        steps, seconds = self._step - self._first[0], now - self._first[1]
        if not total_steps or not steps:
            return None
        return round(max(0, total_steps - self._step) * seconds / steps, 1)


def _number(name: str, value: Any) -> float:
    try:
        return float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError):
        raise InvalidSpec(
            f"log_metrics got {type(value).__name__} for {name!r}; a metric is one number."
        ) from None
