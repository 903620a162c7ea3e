"""Where a job leaves what it makes: URLs that follow from its spec alone."""

from __future__ import annotations

from mlpools.contract.wiring import log_name
from mlpools_operator.api.v1alpha1 import JobSpec, TrainingJobSpec


def checkpoint_url(spec: TrainingJobSpec) -> str:
    """Return the folder of the checkpoints: the user's, or one under the output."""
    return spec.checkpoint.url or f"{spec.output.url.rstrip('/')}/checkpoints"


def logs_url(spec: JobSpec) -> str:
    """Return the folder with the logs of all attempts and ranks."""
    return f"{spec.output.url.rstrip('/')}/logs"


def log_url(spec: JobSpec, attempt: int, rank: int) -> str:
    """Return the log of one rank."""
    return f"{spec.output.url.rstrip('/')}/{log_name(attempt, rank)}"
