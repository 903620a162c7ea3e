"""Status of a TrainingJob."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mlpools_operator.api.v1alpha1.common import Count, FabricCheck
from mlpools_operator.api.v1alpha1.job_status import JobProgress, JobStatus, Place
from mlpools_operator.api.v1alpha1.meta import Model

_Metrics = Annotated[dict[str, float], Field(max_length=16)]


class Progress(JobProgress):
    """How far the current attempt is, as rank 0 reports it."""

    step: Count = 0
    """Finished boosting rounds."""
    total_steps: Count = 0
    """Boosting rounds in all. 0: unknown."""
    metrics: _Metrics = Field(default_factory=dict)
    """Latest metrics, such as eval-rmse."""


class JobOutput(Model):
    """Where the results are."""

    model_url: Place = ""
    """The trained model."""
    metrics_url: Place = ""
    """Its metrics, round by round."""
    result_url: Place = ""
    """The full report of the run."""
    logs_url: Place = ""
    """Logs of all attempts and ranks."""
    checkpoint_url: Place = ""
    """Folder of the checkpoints."""
    checkpoint_step: Count = 0
    """Rounds in the newest checkpoint. 0: there is none."""


class TrainingJobStatus(JobStatus):
    """How the job stands."""

    progress: Progress | None = None
    """How far the current attempt is."""
    output: JobOutput | None = None
    """Where the results are."""
    metrics: _Metrics = Field(default_factory=dict)
    """Metrics of the finished model, such as eval-rmse."""
    fabric: FabricCheck | None = None
    """The last check of the network between the pods, where the pool wants one."""
    dashboard_url: Place = ""
    """Dashboard of the Ray cluster, in the cluster's network, while a script with the launcher ray runs."""
