"""What the statuses of all kinds of jobs have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import Conditions, Count, LackedCapacity, Sentence, Time, Word
from mlpools_operator.api.v1alpha1.meta import Model, list_map
from mlpools_operator.api.v1alpha1.schedule import ScheduleStatus

#: URL of a result.
Place = Annotated[str, StringConstraints(max_length=2048)]


class QueuePlace(Model):
    """Where the job stands in its pool's queue."""

    position: Count = 0
    """Its place; 1 is next."""
    ahead: Count = 0
    """How many are served before it; from 50 on rewritten only when it has halved."""
    reason: Word = ""
    """Why it waits, in one word."""
    message: Sentence = ""
    """Who holds the nodes, and what would help."""
    updated_at: Time | None = None
    """When this was written: it is told anew every 30 seconds at most."""


class JobProgress(Model):
    """How far a job is."""

    percent: Annotated[float, Field(ge=0, le=100)] | None = None
    """Share of the work that is done, in percent."""
    rows_per_second: Annotated[float, Field(ge=0)] | None = None
    """Rows that all nodes together pass over in a second."""
    eta_seconds: Annotated[float, Field(ge=0)] | None = None
    """Seconds to the end, at the present speed."""
    updated_at: Time | None = None
    """When this was read from the pod."""
    summary: Word = ""
    """All of it in short, for the column of `kubectl get`."""


class FailedPod(Model):
    """A pod of the last failed attempt, and what it died of."""

    rank: Count
    """Its node rank."""
    pod: Word = ""
    """Its name."""
    node: Word = ""
    """The machine that it ran on."""
    reason: Word = ""
    """The cause in one word, such as OutOfMemory."""
    exit_code: int | None = None
    """Exit code of its container."""
    message: Annotated[str, StringConstraints(max_length=512)] = ""
    """The cause in a sentence."""


class JobNodes(Model):
    """Nodes of the job."""

    requested: Count = 0
    """Nodes that it asks for."""
    ready: Count = 0
    """Nodes whose pod is running and ready."""
    failed: Annotated[tuple[FailedPod, ...], Field(max_length=16)] = ()
    """Pods of the last failed attempt, at most 16, the cause first."""
    failed_count: Count = 0
    """Number of pods that failed in it."""
    summary: Word = ""
    """ready/requested, for the column of `kubectl get`."""


class SuspectNode(Model):
    """A machine on which attempts of the job were lost, crashed or hung."""

    node: Word
    """Its name."""
    failures: Count
    """Attempts that failed there. From 2 on the job's pods avoid the machine."""


class JobStatus(Model):
    """How a job stands, whatever it does."""

    phase: Word = ""
    """Queued, Starting, Running, Restarting, Suspended, Succeeded, Failed or Cancelled: the conditions in one
    word. Scheduled: it makes runs of itself."""
    reason: Word = ""
    """Why it is there, in one word, where it needs one: why it waits, restarts, stops or failed. Of a
    schedule: when it runs next."""
    conditions: Conditions = ()
    """Admitted: it holds its nodes. PodsReady: all pods run. Running: it works. Slowed: one rank holds up the
    others. ProgressUnknown: it runs, and nobody can say how far it is. Stopping: its pods were told to end.
    Suspended: it rests. Complete, Failed: the end; a cancelled job has Failed with reason Cancelled. Expired:
    its TTL is over, and a tool keeps the object. Paused: nothing of it is changed. Scheduled: runs start at
    their times. Ready: the state asked for is reached. Stalled: a person has to do something."""
    observed_generation: Count | None = None
    """The `metadata.generation` that this status speaks of."""
    queue: QueuePlace | None = None
    """Where it stands in the pool's queue, while it waits."""
    attempt: Count = 0
    """The current attempt; the first is 1. 0: it was never admitted."""
    instance_family: Word = ""
    """The pool's instance family that the attempt asks for; after a lack of machines, the next one. Empty if
    the pool names none."""
    suspect_nodes: Annotated[tuple[SuspectNode, ...], Field(max_length=16), list_map("node")] = ()
    """Machines that may be at fault for failed attempts. If there are not enough others, none is avoided."""
    lacked_capacity: LackedCapacity | None = None
    """The last attempt that found too few machines, until one finds enough."""
    restarts: Count = 0
    """Restarts so far that count against maxRestarts."""
    not_before: Time | None = None
    """Time before which it is not admitted again, after a failed attempt."""
    start_time: Time | None = None
    """When it was first admitted."""
    completion_time: Time | None = None
    """When it ended."""
    progress: JobProgress | None = None
    """How far it is."""
    nodes: JobNodes | None = None
    """Its nodes, and which of them failed."""
    node_seconds: Annotated[float, Field(ge=0)] | None = None
    """Nodes held times seconds, over all attempts."""
    schedule: ScheduleStatus | None = None
    """How the schedule stands. Absent without one."""


class ElasticNodes(JobNodes):
    """Nodes of a job that takes more of them as they come free."""

    granted: Count = 0
    """Nodes that the present attempt has, or is about to have."""
    granted_at: Time | None = None
    """Since when it has so many."""
    lost: Count = 0
    """Nodes that the present attempt gave back because their workers failed more often than `maxRestarts`."""


class ElasticStatus(JobStatus):
    """How a job stands whose number of nodes changes while it runs."""

    nodes: ElasticNodes | None = None
    """Its nodes, and which of them failed."""
    held_seconds: Annotated[float, Field(ge=0)] | None = None
    """Seconds for which earlier attempts held nodes."""
