"""What a person is told of an attempt that failed: what, where, and what to do."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import JobSpec
from mlpools_operator.domain import outputs, wording
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.attempt.retries import Next

#: Part of a sentence's room for what the pod said, so that the advice after it is never cut off.
_SAID_BYTES = 420
_PLACE_BYTES = 160


def failure(cause: Cause, spec: JobSpec, attempt: int, after: Next, resumes: str) -> str:
    """Tell of a failed attempt, such as ``rank 1 (pod a-1-1-x on node-b): … Logs: … Not retried: …``.

    Args:
        cause: of the failure.
        spec: of the job.
        attempt: that failed.
        after: what happens now.
        resumes: a sentence about where the next attempt goes on, with a space before; or nothing.
    """
    said = _sentence(wording.fit(cause.message, _SAID_BYTES))
    first = "" if after.reason == cause.reason else f"{cause.reason}: "
    logs = ""
    if cause.rank is not None and cause.exit_code is not None:
        place = outputs.log_url(spec, attempt, cause.rank)
        logs = f"Logs: {place}. " if wording.fit(place, _PLACE_BYTES) == place else ""
    text = f"{first}{_who(cause)}{said} {logs}{after.words}{resumes if after.retry else ''}"
    return text[0].upper() + text[1:]


def _who(cause: Cause) -> str:
    if cause.rank is None:
        return f"pod {cause.pod}: " if cause.pod else ""
    where = f" on {cause.node}" if cause.node else ""
    return f"rank {cause.rank} (pod {cause.pod}{where}): "


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
