"""What people are told of a BatchInference's work."""

from __future__ import annotations

from collections.abc import Sequence

from mlpools.contract.ends import Final
from mlpools_operator.api.v1alpha1 import BatchInferenceSpec, BatchInferenceStatus
from mlpools_operator.domain import wording
from mlpools_operator.domain.inference import account
from mlpools_operator.domain.job.kind import Said


def running(attempt: int, nodes: int) -> Said:
    """Say that it predicts."""
    return Said("Running", "Predicting", f"Attempt {attempt} predicts on {wording.count(nodes, 'node')}.")


def resumes(before: BatchInferenceStatus, finals: Sequence[Final]) -> str:
    """Say what the next attempt need not do again."""
    shards = account.left(before, finals).get("shards") or before.shards
    return f" {shards.done} of {shards.total} shards are written and stay." if shards and shards.done else ""


def success(final: Final | None, spec: BatchInferenceSpec, nodes: int, attempt: int) -> str:
    """Tell of the predictions, or where to look for them if the report of rank 0 was lost."""
    if final is None:
        return (
            f"Attempt {attempt} succeeded, but the report of rank 0 was lost. "
            f"The predictions are at {spec.output.url}; _SUCCESS there lists the files and their rows."
        )
    told = account.finished(BatchInferenceStatus(), final)
    shards, rows = told.get("shards"), told.get("rows")
    what = f"Predicted {wording.count(rows.done, 'row')}" if rows else "Predicted"
    parts = f" in {wording.count(shards.done, 'shard')}" if shards else ""
    lacks = f" {final.partial}" if final.partial else ""
    return f"{what}{parts}.{lacks} Output: {told.get('output_url') or spec.output.url}"
