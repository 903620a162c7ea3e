"""What people are told of a TrainingJob's work."""

from __future__ import annotations

from collections.abc import Sequence

from mlpools.contract.ends import Final
from mlpools_operator.api.v1alpha1 import TrainingJobSpec, TrainingJobStatus
from mlpools_operator.domain import wording
from mlpools_operator.domain.job.kind import Said
from mlpools_operator.domain.training import account


def running(attempt: int, nodes: int) -> Said:
    """Say that it trains."""
    return Said("Running", "Training", f"Attempt {attempt} trains on {wording.count(nodes, 'node')}.")


def resumes(before: TrainingJobStatus, finals: Sequence[Final]) -> str:
    """Say from which checkpoint the next attempt goes on."""
    saved = account.newest_checkpoint(before, finals)
    return f" It resumes from round {saved}." if saved else ""


def success(final: Final | None, spec: TrainingJobSpec, nodes: int, attempt: int) -> str:
    """Tell of the finished model, or where to look for it if the report of rank 0 was lost."""
    where = wording.count(nodes, "node")
    if final is None:
        return (
            f"Attempt {attempt} on {where} succeeded, but the report of rank 0 was lost. "
            f"Model and metrics are at {spec.output.url}; result.json there has the full report."
        )
    held_out = [name for name in final.metrics if not name.startswith("train")]
    shown = [f"{name} {final.metrics[name]:.4g}" for name in (held_out or list(final.metrics))[:2]]
    result = f": {', '.join(shown)}" if shown else ""
    model = f" Model: {final.outputs['modelURL']}" if final.outputs.get("modelURL") else ""
    step = "round" if spec.framework in ("xgboost", "lightgbm") else "step"
    done = f"Trained {wording.count(final.step, step)}" if final.step else "Ran"  # not all scripts report
    return f"{done} on {where}{result}.{model}"
