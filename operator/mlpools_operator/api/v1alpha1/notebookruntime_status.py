"""Status of a NotebookRuntime."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1.common import Conditions, Count, LackedCapacity, Sentence, Time, Word
from mlpools_operator.api.v1alpha1.job_status import Place, QueuePlace
from mlpools_operator.api.v1alpha1.meta import Model
from mlpools_operator.api.v1alpha1.notebook_schedule import WorkspaceRun
from mlpools_operator.api.v1alpha1.schedule import ScheduleStatus


class ClusterStatus(Model):
    """The Ray cluster of a notebook."""

    nodes: Count = 0
    """Nodes that it holds."""
    ready: Count = 0
    """Of these, those whose pod runs and has joined."""
    message: Sentence = ""
    """Why it has fewer nodes than it asks for. Empty if it has all."""
    dashboard_url: Place = ""
    """Where its dashboard is, from inside the notebook."""


class NotebookRuntimeStatus(Model):
    """How a notebook stands."""

    phase: Word = ""
    """Queued, Starting, Running, Idle, Stopped or Failed: the conditions in one word."""
    reason: Word = ""
    """Why it is there, in one word, where it needs one: why it waits, stopped or failed."""
    conditions: Conditions = ()
    """Admitted: it holds its node. Serving: its program answers. Idle: nobody uses it, and it stops at
    idleAt. Stopping: its pod was told to end. Stopped: it rests, without a node. ActivityUnknown: nobody can
    see whether it is used, so it does not stop. GpuUseUnknown: nobody can see whether its GPUs work.
    EgressIncomplete: where it may connect to is not what its spec lists.
    Outdated: its spec or its pool changed since it was started. Scheduled: runs start at their times. Paused:
    nothing of it is changed. Ready: the state asked for is reached. Stalled: a person has to do something."""
    observed_generation: Count | None = None
    """The `metadata.generation` that this status speaks of."""
    queue: QueuePlace | None = None
    """Where it stands in the pool's queue, while it waits."""
    attempt: Count = 0
    """How often it was started."""
    instance_family: Word = ""
    """The pool's instance family that it runs on. Empty if the pool names none."""
    lacked_capacity: LackedCapacity | None = None
    """The last start that found no machine in time, until one finds some."""
    start_time: Time | None = None
    """When it was started last."""
    stopped_at: Time | None = None
    """When it was told to stop. The annotation mlpools.dev/start-requested-at with a later time starts it."""
    url: Place = ""
    """Where it is, inside the cluster. Empty while it does not serve."""
    token_secret: Word = ""
    """Secret whose key token opens it."""
    image: Word = ""
    """Image that it runs."""
    last_activity_time: Time | None = None
    """When it was used last, true to within a minute."""
    idle_at: Time | None = None
    """When it stops unless it is used before. Absent if it does not stop by itself."""
    cluster: ClusterStatus | None = None
    """Its Ray cluster. Absent without one."""
    schedule: ScheduleStatus | None = None
    """How the schedule stands. Absent without one."""
    run: WorkspaceRun | None = None
    """The run that has the workspace. Until it has ended the notebook does not start."""
