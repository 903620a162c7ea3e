"""What the status of a TrainingJob tells of the work: progress, metrics, outputs, the network it runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlpools.contract.ends import Final
from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import (
    FabricCheck,
    JobOutput,
    Progress,
    TrainingJobSpec,
    TrainingJobStatus,
)
from mlpools_operator.domain import outputs, times, wording
from mlpools_operator.domain.attempt import reports
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.job.kind import Said
from mlpools_operator.domain.training import progress

_MESSAGE_BYTES = 512
_OUTPUTS = {
    "model_url": "modelURL",
    "metrics_url": "metricsURL",
    "result_url": "resultURL",
    "logs_url": "logsURL",
    "checkpoint_url": "checkpointURL",
}


def begun(before: TrainingJobStatus, spec: TrainingJobSpec) -> dict[str, Any]:
    """Say where logs and checkpoints will be."""
    logs, checkpoints = reports.url(outputs.logs_url(spec)), reports.url(outputs.checkpoint_url(spec))
    return {"output": _output(before, logs_url=logs, checkpoint_url=checkpoints)}


def reported(before: TrainingJobStatus, report: Report | None, now: float) -> dict[str, Any]:
    """Return what rank 0's report changes; a report that says nothing new changes nothing."""
    if report is None or report.attempt != before.attempt:
        return {}
    dashboard = reports.url(report.dashboard)
    changes = _network(before, report, now)
    if dashboard != before.dashboard_url:
        changes["dashboard_url"] = dashboard
    new = progress.of(report)
    if new is None or new == _untimed(before.progress):
        return changes
    step = reports.count(report.checkpoint_step)
    return {
        **changes,
        "progress": new.model_copy(update={"updated_at": times.stamp(now)}),
        "output": _output(before, checkpoint_step=step),
    }


def halted(before: TrainingJobStatus) -> dict[str, Any]:
    """Nobody knows when it will be done, and its dashboard is gone."""
    return {"progress": progress.halted(before.progress), "dashboard_url": ""}


def left(before: TrainingJobStatus, finals: Sequence[Final]) -> dict[str, Any]:
    """Return what its pods leave: a checkpoint. Only rank 0 knows it, whichever rank failed."""
    return {"output": _output(before, checkpoint_step=newest_checkpoint(before, finals))}


def newest_checkpoint(before: TrainingJobStatus, finals: Sequence[Final]) -> int:
    """Return the round of the newest checkpoint; 0 = there is none."""
    known = before.output.checkpoint_step if before.output else 0
    return max([known, *(final.checkpoint_step for final in finals)])


def failed(before: TrainingJobStatus, cause: Cause, now: float) -> dict[str, Any]:
    """Return what a failed attempt tells of its network: that it is too slow, if that was the cause."""
    if cause.reason != "FabricTooSlow":
        return {}
    return {"fabric": _checked(before.attempt, cause.message, now, verified=False)}


def finished(before: TrainingJobStatus, final: Final) -> dict[str, Any]:
    """Return what rank 0's final report changes."""
    named = {name: final.outputs.get(key, "") for name, key in _OUTPUTS.items()}
    urls = {name: value for name, value in named.items() if value}
    return {
        "progress": progress.finished(before.progress, final),
        "metrics": final.metrics,
        "output": _output(before, checkpoint_step=final.checkpoint_step, **urls),
    }


def conditions(words: Report | Final | None) -> Sequence[Said]:
    """It has no conditions of its own."""
    return ()


def learned(before: TrainingJobStatus) -> Mapping[str, Any]:
    """Return nothing: what attempts know of one another is in their checkpoints."""
    return {}


def network(before: TrainingJobStatus) -> FabricCheck | None:
    """Return the last check of the network between its pods."""
    return before.fabric


def useful(before: TrainingJobStatus, spec: TrainingJobSpec) -> int | None:
    """All of a gang's nodes have something to do."""
    return None


def _output(before: TrainingJobStatus, checkpoint_step: int = 0, **urls: str) -> JobOutput | None:
    """Return the places of the results; the newest checkpoint never falls back."""
    known = before.output or JobOutput()
    newest = max(checkpoint_step, known.checkpoint_step)
    changed = known.model_copy(update={**urls, "checkpoint_step": newest})
    return changed if changed != JobOutput() else None


def _network(before: TrainingJobStatus, report: Report, now: float) -> dict[str, Any]:
    """Return what the attempt's check of its network found, once."""
    told = before.fabric is not None and before.fabric.attempt == report.attempt
    if told or not isinstance(report.fabric, str) or not report.fabric:
        return {}
    return {"fabric": _checked(report.attempt, report.fabric, now, verified=True)}


def _checked(attempt: int, words: str, now: float, *, verified: bool) -> FabricCheck:
    message = wording.fit(words, _MESSAGE_BYTES)
    return FabricCheck(attempt=attempt, time=times.stamp(now), verified=verified, message=message)


def _untimed(known: Progress | None) -> Progress | None:
    return known and known.model_copy(update={"updated_at": None})
