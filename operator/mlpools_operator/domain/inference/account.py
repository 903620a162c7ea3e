"""What the status of a BatchInference tells of the work: shards, rows, and where the predictions are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlpools.contract.ends import Final
from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import (
    BatchInferenceSpec,
    BatchInferenceStatus,
    FabricCheck,
    JobProgress,
)
from mlpools_operator.domain import outputs, times, wording
from mlpools_operator.domain.attempt import reports
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.inference import progress
from mlpools_operator.domain.job.kind import Said

PARTIAL_OUTPUT = "PartialOutput"
WEAK_COMMIT = "WeakCommit"

_OUTPUTS = {
    "output_url": "outputURL",
    "manifest_url": "manifestURL",
    "errors_url": "errorsURL",
    "logs_url": "logsURL",
}


def begun(before: BatchInferenceStatus, spec: BatchInferenceSpec) -> dict[str, Any]:
    """Say where predictions and logs will be."""
    return {"output_url": reports.url(spec.output.url), "logs_url": reports.url(outputs.logs_url(spec))}


def reported(before: BatchInferenceStatus, report: Report | None, now: float) -> dict[str, Any]:
    """Return what rank 0's report changes; a report that says nothing new changes nothing."""
    if report is None or report.attempt != before.attempt:
        return {}
    shards, rows = progress.shards(report.shards), progress.rows(report.rows)
    if shards is None:
        return {}
    new = progress.of(shards, rows, report.rows_per_second, report.eta_seconds)
    if (shards, rows, new) == (before.shards, before.rows, _untimed(before.progress)):
        return {}
    timed = new.model_copy(update={"updated_at": times.stamp(now)})
    return {"shards": shards, "rows": rows, "progress": timed}


def halted(before: BatchInferenceStatus) -> dict[str, Any]:
    """Nobody knows when it will be done."""
    return {"progress": progress.halted(before.progress)}


def left(before: BatchInferenceStatus, finals: Sequence[Final]) -> dict[str, Any]:
    """Return what rank 0 says was done: shards that are written stay, whatever comes next."""
    final = next((it for it in finals if it.rank == 0), None)
    return _counted(before, final) if final else {}


def failed(before: BatchInferenceStatus, cause: Cause, now: float) -> dict[str, Any]:
    """No cause of a failure tells more than the job's reason does."""
    return {}


def finished(before: BatchInferenceStatus, final: Final) -> dict[str, Any]:
    """Return what rank 0's final report changes."""
    named = {name: reports.url(final.outputs.get(key, "")) for name, key in _OUTPUTS.items()}
    return {**{name: url for name, url in named.items() if url}, **_counted(before, final)}


def conditions(words: Report | Final | None) -> Sequence[Said]:
    """Say that the output may lack rows, or that its place cannot make a file only once."""
    if isinstance(words, Report) and _is_said(words.weak_commit):
        return (Said(WEAK_COMMIT, "NoCreateOnlyWrite", wording.fit(words.weak_commit)),)
    if isinstance(words, Final) and _is_said(words.partial):
        return (Said(PARTIAL_OUTPUT, "RowsMissing", wording.fit(words.partial)),)
    return ()


def learned(before: BatchInferenceStatus) -> Mapping[str, Any]:
    """Say after how many attempts memory ran out: where the kernel kills a whole pod, no worker can tell."""
    last = before.nodes.failed[:1] if before.nodes else ()
    return {"outOfMemory": before.restarts} if any(it.reason == "OutOfMemory" for it in last) else {}


def network(before: BatchInferenceStatus) -> FabricCheck | None:
    """Its pods have little to tell each other, so nobody measures."""
    return None


def useful(before: BatchInferenceStatus, spec: BatchInferenceSpec) -> int | None:
    """Return for how many nodes there is a shard left; None while nobody knows how many there are."""
    shards = before.shards
    if shards is None:
        return None
    return math.ceil((shards.total - shards.done - shards.failed) / (spec.workers_per_node or 1))


def _counted(before: BatchInferenceStatus, final: Final) -> dict[str, Any]:
    """Return what a final report says of shards and rows, if it says anything."""
    shards, rows = progress.shards(final.shards), progress.rows(final.rows)
    if shards is None:
        return {}
    known = before.progress.updated_at if before.progress else None
    done = progress.of(shards, rows, None, None).model_copy(update={"updated_at": known})
    return {"shards": shards, "rows": rows, "progress": done}


def _is_said(words: object) -> bool:
    return isinstance(words, str) and bool(words)


def _untimed(known: JobProgress | None) -> JobProgress | None:
    return known and known.model_copy(update={"updated_at": None})
