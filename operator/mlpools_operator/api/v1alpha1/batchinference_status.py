"""Status of a BatchInference."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1.common import Conditions, Count
from mlpools_operator.api.v1alpha1.job_status import ElasticStatus, Place
from mlpools_operator.api.v1alpha1.meta import Model


class Shards(Model):
    """The parts of the input, of which each becomes one file."""

    total: Count = 0
    """All of them. 0: the input has not been looked at yet."""
    done: Count = 0
    """Those whose file is written."""
    failed: Count = 0
    """Those that are given up."""


class Rows(Model):
    """The rows of the input."""

    total: Count = 0
    """All of them, as far as the files tell. 0: nobody knows yet."""
    done: Count = 0
    """Those of shards that are done."""
    failed: Count = 0
    """Those of shards that are given up, and those without a prediction."""


class BatchInferenceStatus(ElasticStatus):
    """How the job stands."""

    conditions: Conditions = ()
    """Admitted: it holds nodes. PodsReady: the pods of all nodes that it has run. Running: it predicts.
    ProgressUnknown: it runs, and nobody can say how far it is. Stopping: its pods were told to end.
    Suspended: it rests. Complete, Failed: the end; a cancelled job has Failed with reason Cancelled.
    PartialOutput: it is complete but for shards that failed. WeakCommit: the output's place cannot make a
    file only once. Expired: its TTL is over, and a tool keeps the object. Paused: nothing of it is changed.
    Scheduled: runs start at their times. Ready: the state asked for is reached. Stalled: a person has to do
    something."""
    shards: Shards | None = None
    """How many parts of the input are done."""
    rows: Rows | None = None
    """How many rows of the input are done."""
    output_url: Place = ""
    """The folder with the predictions. They are complete once _SUCCESS is there."""
    manifest_url: Place = ""
    """The list of its files, with their rows and checksums."""
    errors_url: Place = ""
    """The list of rows that failed, with their errors. Empty if none did."""
    logs_url: Place = ""
    """Logs of all attempts and ranks."""
