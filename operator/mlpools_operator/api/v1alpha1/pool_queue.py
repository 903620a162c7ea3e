"""The queue in front of a ComputePool: the rules by which those that wait are served."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlpools_operator.api.v1alpha1.common import Time, Word
from mlpools_operator.api.v1alpha1.meta import Model
from mlpools_operator.api.v1alpha1.tenancy import NamespaceLimit


class PoolQueue(Model):
    """The rules by which those that wait are served: priority first, then fair share, then age."""

    preemption: Literal["Never", "LowerPriority"] = "Never"
    """LowerPriority: the job at the head may take nodes from jobs of lower priority, which save a checkpoint
    and queue again, if that makes it fit. Never: jobs keep their nodes until they end."""
    backfill: bool = True
    """Whether a smaller job may pass the one at the head while there are too few nodes for that one."""
    backfill_max_wait_seconds: Annotated[int, Field(ge=0, le=604_800)] = 600
    """Seconds for which a job at the head may be passed. After them freed nodes are kept for it."""
    fair_share: bool = True
    """Whether, at equal priority, the namespace with the least nodes goes first. False: the oldest job."""
    max_queued: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many may stand in the queue; the others wait outside it, with QueueFull. Without it: any number."""
    disclose: Literal["Names", "Counts"] = "Names"
    """Whether messages and the pool's status name jobs of other namespaces, or only count them."""

    limits: Annotated[tuple[NamespaceLimit, ...], Field(max_length=64)] = ()
    """What a namespace may hold, for those that an entry selects. Jobs beyond it wait and are passed."""


class HeadOfQueue(Model):
    """One that stands at the head of the queue, or stood there before one of higher priority came."""

    uid: Word
    """Its `metadata.uid`."""
    since: Time
    """When it came to the head."""
