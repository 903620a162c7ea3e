"""Status of a ComputePool."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mlpools_operator.api.v1alpha1.common import Conditions, Count, LackedCapacity, Time, Word
from mlpools_operator.api.v1alpha1.meta import Model, list_map
from mlpools_operator.api.v1alpha1.pool_queue import HeadOfQueue


class PoolNodes(Model):
    """Nodes of the pool."""

    target: Count = 0
    """Nodes that the pool wants now."""
    active: Count = 0
    """Nodes that jobs hold, or are about to."""
    idle: Count = 0
    """Nodes kept warm that nothing holds."""
    min: Count = 0
    """Nodes that the pool keeps at least."""
    max: Count = 0
    """Nodes that the pool has at most."""
    summary: Word = ""
    """active/idle/max, for the column of `kubectl get`."""


class QueueEntry(Model):
    """One that waits for nodes of the pool."""

    kind: Word
    """Its kind, such as TrainingJob."""
    namespace: Word
    """Its namespace."""
    name: Word
    """Its name."""
    position: Annotated[int, Field(ge=1)]
    """Its place in the queue; 1 is next."""
    nodes: Count
    """Nodes that it asks for."""
    priority: int = 0
    """Its priority; higher is earlier."""
    since: Time | None = None
    """When it was created: its age in the queue counts from here."""
    reason: Word = ""
    """Why it waits, in one word."""


class ComputePoolStatus(Model):
    """What the pool is doing."""

    state: Word = ""
    """Suspended: it wants no nodes. Starting: it wants some and none is ready. Resizing: it has more or fewer
    than it wants. Active: something holds a node. Idle: nothing does. Stopping: it gives its nodes back."""
    instance_family: Word = ""
    """The instance family in use: the one that the next job begins with. Empty if the pool names none."""
    shape: Word = ""
    """The shape of one node in words, such as `2 CPU, 4Gi`, after the name of its family if it has one."""
    nodes: PoolNodes | None = None
    """How many nodes there are, and what they do."""
    jobs: Count = 0
    """Jobs that hold nodes."""
    notebooks: Count = 0
    """Notebooks that hold nodes."""
    queued: Count = 0
    """Jobs and notebooks that wait for nodes; not those that the pool does not take, whatever is free."""
    queue: Annotated[tuple[QueueEntry, ...], Field(max_length=50)] = ()
    """The first 50 that wait, in the order in which they are served."""
    heads: Annotated[tuple[HeadOfQueue, ...], Field(max_length=8), list_map("uid")] = ()
    """Who stands at the head of the queue and since when, so that it is not passed for ever: the present one
    first, then those who stood there before one of higher priority came."""
    last_activity_time: Time | None = None
    """When a job last came, went, got nodes or gave them back, or the pool woke."""
    suspended_since: Time | None = None
    """Since when the pool is suspended."""
    lacked_capacity: LackedCapacity | None = None
    """The last job, or warm nodes of the idle pool, that found too few machines, until others find enough."""
    conditions: Conditions = ()
    """Ready: the pool is as its spec says, also while it is idle or suspended. Suspended: it
    wants no nodes, and why. CapacityAvailable: the last pods that looked for machines all got one; if
    not, what they lacked and what the scheduler says. FabricVerified: the last attempt whose network was
    measured may work on it, and what it reached; with spec.preflight. Stalled: its spec cannot be carried
    out."""
    observed_generation: Count | None = None
    """The `metadata.generation` that this status speaks of."""
