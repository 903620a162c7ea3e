"""What pods say of themselves, made fit for a status: a pod may run any image, so nothing is trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mlpools.contract import Final, Report
from mlpools.document import ContractError
from mlpools_operator.api.v1alpha1 import Progress
from mlpools_operator.domain import wording

_METRICS = 16
_NAME_BYTES = 64
_URL_BYTES = 1100
_DIGITS = 6


def read_final(termination: str) -> Final | None:
    """Return a pod's final report, or None if its termination message is none."""
    try:
        final = Final.from_json(termination) if termination else None
    except ContractError:
        return None
    if final is None:
        return None
    return replace(
        final,
        message=final.message if isinstance(final.message, str) else "",
        step=count(final.step),
        checkpoint_step=count(final.checkpoint_step),
        metrics=metrics(final.metrics),
        outputs={key: url(value) for key, value in _mapping(final.outputs).items()},
    )


def newest_checkpoint(terminations: Iterable[str]) -> int:
    """Return the newest checkpoint of which any final report tells; 0 = of none."""
    finals = (read_final(termination) for termination in terminations)
    return max((final.checkpoint_step for final in finals if final), default=0)


def memory_seen(report: Report | None, attempt: int) -> str:
    """Return a clause about the memory that was in use when an attempt was last asked, or nothing."""
    if report is None or report.attempt != attempt or not count(report.memory_bytes):
        return ""
    return (
        f"; the last use seen was {report.memory_bytes / 2**30:.1f} GiB, on rank {count(report.memory_rank)}"
    )


def progress(report: Report) -> Progress | None:
    """Return a report as progress, without the time; None before the first step."""
    step, total = count(report.step), count(report.total_steps)
    if step == 0:
        return None
    shown = metrics(report.metrics)
    percent = round(min(100.0, 100.0 * step / total), 1) if total else None
    eta = _positive(report.eta_seconds)
    return Progress(
        step=step,
        total_steps=total,
        percent=percent,
        rows_per_second=_positive(report.rows_per_second),
        eta_seconds=eta,
        metrics=shown,
        summary=_summary(step, percent, shown, eta),
    )


def halted(before: Progress | None) -> Progress | None:
    """Return the progress of a job that does not train: nobody knows when it will be done."""
    if before is None or before.eta_seconds is None:
        return before
    summary = _summary(before.step, before.percent, before.metrics, None)
    return before.model_copy(update={"eta_seconds": None, "summary": summary})


def finished(before: Progress | None, final: Final) -> Progress:
    """Return the progress of a job that is done; early stopping ends before the last step."""
    total = before.total_steps if before else 0
    done = Progress(
        step=final.step,
        total_steps=max(total, final.step),
        percent=100.0,
        rows_per_second=before.rows_per_second if before else None,
        metrics=final.metrics or (before.metrics if before else {}),
        updated_at=before.updated_at if before else None,
    )
    return done.model_copy(update={"summary": _summary(done.step, done.percent, done.metrics, None)})


def metrics(raw: Any) -> dict[str, float]:
    """Return at most 16 finite metrics, rounded, by name."""
    pairs = ((str(name), _number(value)) for name, value in sorted(_mapping(raw).items(), key=str))
    good = [(wording.fit(name, _NAME_BYTES), value) for name, value in pairs if value is not None]
    return dict(good[:_METRICS])


def url(value: Any) -> str:
    """Return a place as it is, or nothing where it cannot be one: half a URL helps nobody."""
    if not isinstance(value, str) or wording.fit(value, _URL_BYTES) != value:
        return ""
    return value


def _summary(step: int, percent: float | None, shown: Mapping[str, float], eta: float | None) -> str:
    """Return such as ``61% eval-rmse 17.93 40s``: one metric, of held-out rows if there is one."""
    words = [f"round {step}" if percent is None else f"{percent:.0f}%"]
    held_out = [name for name in shown if not name.startswith("train")]
    words += [f"{name} {shown[name]:.4g}" for name in (held_out or list(shown))[:1]]
    words += [] if eta is None else [f"{eta:.0f}s"]
    return " ".join(words)


def _mapping(raw: Any) -> Mapping[Any, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def _positive(value: Any) -> float | None:
    number = _number(value)
    return None if number is None or number < 0 else number


def count(value: Any) -> int:
    """Return a number of steps as it is, or 0 where it cannot be one."""
    number = _positive(value)
    return 0 if number is None or number > 2**53 else int(value)
