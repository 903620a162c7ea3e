"""How far a BatchInference is, in the form of its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpools_operator.api.v1alpha1 import JobProgress, Rows, Shards
from mlpools_operator.domain.attempt import reports

_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def shards(told: Any) -> Shards | None:
    """Return what a pod tells of shards; None before it has looked at its input."""
    numbers = _numbers(told)
    return Shards(**numbers) if numbers["total"] else None


def rows(told: Any) -> Rows | None:
    """Return what a pod tells of rows; None before it has looked at its input."""
    numbers = _numbers(told)
    return Rows(**numbers) if numbers["total"] or numbers["done"] else None


def of(parts: Shards, counted: Rows | None, rows_per_second: Any, eta_seconds: Any) -> JobProgress:
    """Return the progress, without the time.

    Args:
        parts: the shards.
        counted: the rows, whose share is finer than that of shards; None if nobody knows how many there are.
        rows_per_second: as a pod tells them.
        eta_seconds: as a pod tells them.
    """
    of_rows = counted is not None and counted.total > 0
    whole: Rows | Shards = counted if counted is not None and of_rows else parts
    percent = round(min(100.0, 100.0 * (whole.done + whole.failed) / whole.total), 1)
    speed, eta = reports.positive(rows_per_second), reports.positive(eta_seconds)
    summary = _summary(percent, speed, eta)
    return JobProgress(percent=percent, rows_per_second=speed, eta_seconds=eta, summary=summary)


def halted(before: JobProgress | None) -> JobProgress | None:
    """Return the progress of a job of which nothing runs: nobody knows when it will be done."""
    if before is None or before.percent is None:
        return before
    changes = {"eta_seconds": None, "rows_per_second": None, "summary": _summary(before.percent, None, None)}
    return before.model_copy(update=changes)


def _summary(percent: float, speed: float | None, eta: float | None) -> str:
    """Return such as ``61% 1.2M rows/s 40s``."""
    words = [f"{percent:.0f}%"]
    words += [f"{_short(speed)} rows/s"] if speed else []
    words += [] if eta is None else [f"{eta:.0f}s"]
    return " ".join(words)


def _short(number: float) -> str:
    size, unit = next(((size, unit) for size, unit in _UNITS if number >= size), (1.0, ""))
    return f"{number / size:.3g}{unit}"


def _numbers(told: Any) -> dict[str, int]:
    given: Mapping[Any, Any] = told if isinstance(told, Mapping) else {}
    return {name: reports.count(given.get(name)) for name in ("total", "done", "failed")}
