"""The reasons for which a job waits, stops, or fails, and what each of them means for it.

The words are those of ``status.reason``. What a person can do about each stands in the documents
(docs/troubleshooting.md), which the tests hold to this table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Retry(enum.Enum):
    """What a reason means for the job."""

    #: Running it again cannot help: it has ended.
    NEVER = "never"
    #: A new attempt, up to ``maxRestarts``.
    COUNTED = "counted"
    #: A new attempt that does not count: nothing in the job was at fault.
    FREE = "free"
    #: It waits in the queue: something in the cluster has to change first, and may do so by itself.
    WAIT = "wait"


RULES: Mapping[str, Retry] = {
    # It waits for its turn, or for what has to be there first.
    "PoolNotFound": Retry.WAIT,
    "PoolNotAllowed": Retry.WAIT,
    "PoolSuspended": Retry.WAIT,
    "PoolResuming": Retry.WAIT,
    "WaitingForNodes": Retry.WAIT,
    "BehindInQueue": Retry.WAIT,
    "QueueFull": Retry.WAIT,
    "NamespaceLimit": Retry.WAIT,
    "PriorityTooHigh": Retry.WAIT,
    "BudgetSpent": Retry.WAIT,
    "BackOff": Retry.WAIT,
    "Suspended": Retry.WAIT,
    "Resumed": Retry.WAIT,
    # Its nodes are given back, and it queues again after a back-off.
    "SecretMissing": Retry.WAIT,
    "PodsRefused": Retry.WAIT,
    "NameConflict": Retry.WAIT,
    "Unschedulable": Retry.WAIT,
    # At the first look; a pool that was made smaller later may grow again, and until then the job waits.
    "TooLarge": Retry.NEVER,
    "InvalidSpec": Retry.NEVER,
    "OutputExists": Retry.NEVER,
    "DataNotReadable": Retry.NEVER,
    "BadHyperParameter": Retry.NEVER,
    "PackageNotAllowed": Retry.NEVER,
    "PackagesNotResolved": Retry.NEVER,
    "CodeNotReadable": Retry.NEVER,
    "CheckpointMismatch": Retry.NEVER,
    "ModelUnreadable": Retry.NEVER,
    "ModelMismatch": Retry.NEVER,
    "ShardsFailed": Retry.NEVER,
    "UserCodeError": Retry.NEVER,
    "DeadlineExceeded": Retry.NEVER,
    "Cancelled": Retry.NEVER,
    "RestartsExhausted": Retry.NEVER,
    # Whether rows lie in memory is decided before they are read; a retry would need as much again.
    "OutOfMemory": Retry.NEVER,
    "NodeLost": Retry.FREE,
    "Preempted": Retry.FREE,
    "Hung": Retry.COUNTED,
    "StartTimeout": Retry.COUNTED,
    "ImagePullFailed": Retry.COUNTED,
    "InitContainerFailed": Retry.COUNTED,
    "FabricTooSlow": Retry.COUNTED,
    "WorkerCrashed": Retry.COUNTED,
    "PeerLost": Retry.COUNTED,
    "OutputNotWritable": Retry.COUNTED,
    "PackageIndexUnavailable": Retry.COUNTED,
    "CodeUnavailable": Retry.COUNTED,
    "PortTaken": Retry.COUNTED,
    "OutOfDisk": Retry.COUNTED,
    "InternalError": Retry.COUNTED,
}

_REMEDY = {
    "OutOfMemory": "the same memory would run out again: use more nodes, or a pool with more memory per node",
    "OutputExists": "choose another output.url in a new job, or output.mode Overwrite or Resume there",
    "DataNotReadable": "correct the data section, or put the files where it points",
    "ModelUnreadable": "correct model in a new job, or put there what it says",
    "ModelMismatch": "correct model or input in a new job, so that the data has what the model takes",
    "ShardsFailed": "a new job with the same output and output.mode Resume does only the shards that failed",
    "BadHyperParameter": "correct the parameter in a new job",
    "CheckpointMismatch": "choose another checkpoint.url, or set output.mode to Overwrite",
    "InvalidSpec": "correct the spec in a new job",
    "PackageNotAllowed": "make a new job with packages that the pool takes",
    "CodeNotReadable": "correct code, or what it is to run, in a new job",
    "PackagesNotResolved": "correct spec.runtime, or the requirements file, in a new job",
}


def rule(reason: str) -> Retry:
    """Return what a reason means; a pod of a newer release may tell one that is not known here: it counts."""
    return RULES.get(reason, Retry.COUNTED)


def remedy(reason: str) -> str:
    """Return what to do about a failure that is not retried, as a clause."""
    return _REMEDY.get(reason, "running it again cannot help")
