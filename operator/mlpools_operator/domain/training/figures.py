"""The figures in a TrainingJob's status: nodes, outputs, progress, node seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlpools.contract import Final, Report
from mlpools_operator.api.v1alpha1 import (
    FabricCheck,
    FailedPod,
    JobNodes,
    JobOutput,
    LackedCapacity,
    Progress,
    TrainingJobStatus,
)
from mlpools_operator.domain import times, wording
from mlpools_operator.domain.attempt import reports
from mlpools_operator.domain.attempt.failures import Cause

_FAILED_SHOWN = 16
_POD_MESSAGE_BYTES = 512
_WORD_BYTES = 253
_OUTPUTS = {
    "model_url": "modelURL",
    "metrics_url": "metricsURL",
    "result_url": "resultURL",
    "logs_url": "logsURL",
    "checkpoint_url": "checkpointURL",
}


@dataclass(frozen=True, slots=True)
class Lack:
    """Too few machines for an attempt.

    Attributes:
        family: that it asked for.
        following: the family to try next.
        words: of the scheduler.
    """

    family: str
    following: str
    words: str


def nodes(before: TrainingJobStatus, requested: int | None, ready: int, failed: Sequence[Cause]) -> JobNodes:
    """Return the nodes; those that failed last are shown until others fail.

    Args:
        before: the status as it was.
        requested: by the spec; None if that cannot be read.
        ready: pods that run.
        failed: causes of the attempt that failed now.
    """
    known = before.nodes or JobNodes()
    wanted = known.requested if requested is None else requested
    return JobNodes(
        requested=wanted,
        ready=ready,
        failed=tuple(_failed_pod(cause) for cause in failed[:_FAILED_SHOWN]) or known.failed,
        failed_count=len(failed) or known.failed_count,
        summary=f"{ready}/{wanted}",
    )


def output(before: TrainingJobStatus, checkpoint_step: int = 0, **urls: str) -> JobOutput | None:
    """Return the places of the results; the newest checkpoint never falls back."""
    known = before.output or JobOutput()
    newest = max(checkpoint_step, known.checkpoint_step)
    changed = known.model_copy(update={**urls, "checkpoint_step": newest})
    return changed if changed != JobOutput() else None


def reported(before: TrainingJobStatus, report: Report | None, now: float) -> dict[str, Any]:
    """Return what rank 0's report changes; a report that says nothing new changes nothing."""
    if report is None or report.attempt != before.attempt:
        return {}
    dashboard = reports.url(report.dashboard)
    changes = _network(before, report, now)
    if dashboard != before.dashboard_url:
        changes["dashboard_url"] = dashboard
    new = reports.progress(report)
    if new is None or new == _untimed(before.progress):
        return changes
    step = reports.count(report.checkpoint_step)
    return {
        **changes,
        "progress": new.model_copy(update={"updated_at": times.stamp(now)}),
        "output": output(before, checkpoint_step=step),
    }


def _network(before: TrainingJobStatus, report: Report, now: float) -> dict[str, Any]:
    """Return what the attempt's check of its network found, once."""
    told = before.fabric is not None and before.fabric.attempt == report.attempt
    if told or not isinstance(report.fabric, str) or not report.fabric:
        return {}
    return {"fabric": _checked(report.attempt, report.fabric, now, verified=True)}


def refused_network(before: TrainingJobStatus, cause: Cause, now: float) -> dict[str, Any]:
    """Return what a failed attempt tells of its network: that it is too slow, if that was the cause."""
    if cause.reason != "FabricTooSlow":
        return {}
    return {"fabric": _checked(before.attempt, cause.message, now, verified=False)}


def _checked(attempt: int, words: str, now: float, *, verified: bool) -> FabricCheck:
    message = wording.fit(words, _POD_MESSAGE_BYTES)
    return FabricCheck(attempt=attempt, time=times.stamp(now), verified=verified, message=message)


def result(before: TrainingJobStatus, final: Final) -> dict[str, Any]:
    """Return what rank 0's final report changes."""
    named = {name: final.outputs.get(key, "") for name, key in _OUTPUTS.items()}
    urls = {name: value for name, value in named.items() if value}
    return {
        "progress": reports.finished(before.progress, final),
        "metrics": final.metrics,
        "output": output(before, checkpoint_step=final.checkpoint_step, **urls),
    }


def lacked(lack: Lack, now: float) -> dict[str, Any]:
    """Return what is remembered of a lack of machines."""
    told = LackedCapacity(
        instance_family=lack.family,
        time=times.stamp(now),
        message=wording.fit(lack.words, _POD_MESSAGE_BYTES),
    )
    return {"instance_family": lack.following, "lacked_capacity": told}


def node_seconds(before: TrainingJobStatus, requested: int, held_for: float) -> float | None:
    """Return the node seconds of all attempts, the one that ends now included.

    Args:
        before: the status as it was.
        requested: nodes that the ending attempt held.
        held_for: seconds for which it held them; 0 if none ends.
    """
    total = round((before.node_seconds or 0.0) + requested * max(0.0, held_for), 1)
    return total or before.node_seconds


def _untimed(progress: Progress | None) -> Progress | None:
    return progress and progress.model_copy(update={"updated_at": None})


def _failed_pod(cause: Cause) -> FailedPod:
    return FailedPod(
        rank=cause.rank or 0,
        pod=wording.fit(cause.pod, _WORD_BYTES),
        node=wording.fit(cause.node, _WORD_BYTES),
        reason=cause.reason,
        exit_code=cause.exit_code,
        message=wording.fit(cause.message, _POD_MESSAGE_BYTES),
    )
