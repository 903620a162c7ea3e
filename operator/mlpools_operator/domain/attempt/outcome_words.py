"""What a person is told of how an attempt or a job ended: what, where, and what to do."""

from __future__ import annotations

from mlpools.contract import Final
from mlpools_operator.api.v1alpha1 import TrainingJobSpec
from mlpools_operator.domain import outputs, wording
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.attempt.retries import Next

#: Part of a sentence's room for what the pod said, so that the advice after it is never cut off.
_SAID_BYTES = 420
_PLACE_BYTES = 160


def failure(cause: Cause, spec: TrainingJobSpec, attempt: int, after: Next, saved: int) -> str:
    """Tell of a failed attempt, such as ``rank 1 (pod a-1-1-x on node-b): … Logs: … Not retried: …``.

    Args:
        cause: of the failure.
        spec: of the job.
        attempt: that failed.
        after: what happens now.
        saved: round of the newest checkpoint, 0 = none. Only rank 0 knows it, whichever rank failed.
    """
    said = _sentence(wording.fit(cause.message, _SAID_BYTES))
    first = "" if after.reason == cause.reason else f"{cause.reason}: "
    logs = ""
    if cause.rank is not None and cause.exit_code is not None:
        place = outputs.log_url(spec, attempt, cause.rank)
        logs = f"Logs: {place} " if wording.fit(place, _PLACE_BYTES) == place else ""
    resume = f" It resumes from round {saved}." if after.retry and saved else ""
    text = f"{first}{_who(cause)}{said} {logs}{after.words}{resume}"
    return text[0].upper() + text[1:]


def success(final: Final | None, spec: TrainingJobSpec, attempt: int) -> str:
    """Tell of the finished model, or where to look for it if the report of rank 0 was lost."""
    nodes = wording.count(spec.nodes, "node")
    if final is None:
        return (
            f"Attempt {attempt} on {nodes} succeeded, but the report of rank 0 was lost. "
            f"Model and metrics are at {spec.output.url}; result.json there has the full report."
        )
    held_out = [name for name in final.metrics if not name.startswith("train")]
    shown = [f"{name} {final.metrics[name]:.4g}" for name in (held_out or list(final.metrics))[:2]]
    result = f": {', '.join(shown)}" if shown else ""
    model = f" Model: {final.outputs['modelURL']}" if final.outputs.get("modelURL") else ""
    step = "round" if spec.framework in ("xgboost", "lightgbm") else "step"
    done = f"Trained {wording.count(final.step, step)}" if final.step else "Ran"  # not all scripts report
    return f"{done} on {nodes}{result}.{model}"


def _who(cause: Cause) -> str:
    if cause.rank is None:
        return f"pod {cause.pod}: " if cause.pod else ""
    where = f" on {cause.node}" if cause.node else ""
    return f"rank {cause.rank} (pod {cause.pod}{where}): "


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
