"""How far a TrainingJob is, in the form of its status."""

from __future__ import annotations

from collections.abc import Mapping

from mlpools.contract.ends import Final
from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import Progress
from mlpools_operator.domain.attempt import reports


def of(report: Report) -> Progress | None:
    """Return a report as progress, without the time; None before the first step."""
    step, total = reports.count(report.step), reports.count(report.total_steps)
    if step == 0:
        return None
    shown = reports.metrics(report.metrics)
    percent = round(min(100.0, 100.0 * step / total), 1) if total else None
    eta = reports.positive(report.eta_seconds)
    return Progress(
        step=step,
        total_steps=total,
        percent=percent,
        rows_per_second=reports.positive(report.rows_per_second),
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


def _summary(step: int, percent: float | None, shown: Mapping[str, float], eta: float | None) -> str:
    """Return such as ``61% eval-rmse 17.93 40s``: one metric, of held-out rows if there is one."""
    words = [f"round {step}" if percent is None else f"{percent:.0f}%"]
    held_out = [name for name in shown if not name.startswith("train")]
    words += [f"{name} {shown[name]:.4g}" for name in (held_out or list(shown))[:1]]
    words += [] if eta is None else [f"{eta:.0f}s"]
    return " ".join(words)
