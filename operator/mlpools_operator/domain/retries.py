"""What follows a failure: whether a new attempt can help, and when it may begin."""

from __future__ import annotations

import enum
from dataclasses import dataclass

MAX_BACKOFF_SECONDS = 300.0


class Retry(enum.Enum):
    """What a reason of failure means for the job."""

    #: Running it again cannot help.
    NEVER = "never"
    #: A new attempt, up to ``maxRestarts``.
    COUNTED = "counted"
    #: A new attempt that does not count: nothing in the job was at fault.
    FREE = "free"
    #: Back into the queue: something in the cluster has to change first, and may do so by itself.
    WAIT = "wait"


_RETRY = {
    "InvalidSpec": Retry.NEVER,
    "OutputExists": Retry.NEVER,
    "DataNotReadable": Retry.NEVER,
    "BadHyperParameter": Retry.NEVER,
    "PackageNotAllowed": Retry.NEVER,
    "CheckpointMismatch": Retry.NEVER,
    "UserCodeError": Retry.NEVER,
    # A retry helps only where the framework can work with less memory, and XGBoost in memory cannot.
    "OutOfMemory": Retry.NEVER,
    "NodeLost": Retry.FREE,
    "Preempted": Retry.FREE,
    "SecretMissing": Retry.WAIT,
    "PodsRefused": Retry.WAIT,
    "NameConflict": Retry.WAIT,
    "Unschedulable": Retry.WAIT,
    "PoolNotFound": Retry.WAIT,
}

_REMEDY = {
    "UserCodeError": "running it again cannot help",
    "OutOfMemory": "the same memory would run out again: use more nodes, or a pool with more memory per node",
    "OutputExists": "choose another output.url in a new job, or output.mode Overwrite or Resume there",
    "DataNotReadable": "correct the data section, or put the files where it points",
    "BadHyperParameter": "correct the parameter in a new job",
    "CheckpointMismatch": "choose another checkpoint.url, or set output.mode to Overwrite",
    "InvalidSpec": "correct the spec in a new job",
}


@dataclass(frozen=True, slots=True)
class Next:
    """What a job does after a failed attempt.

    Attributes:
        retry: False = the job has failed for good.
        counted: the new attempt counts against ``maxRestarts``.
        delay: seconds before it may be admitted again.
        reason: of the job's condition: the cause's, or ``RestartsExhausted``.
        words: one clause for a person about what happens now.
    """

    retry: bool
    counted: bool
    delay: float
    reason: str
    words: str


def rule(reason: str) -> Retry:
    """Return what a reason means; one that has no entry (a crash, a hang, a failed image pull) counts."""
    return _RETRY.get(reason, Retry.COUNTED)


def after(reason: str, *, attempt: int, restarts: int, max_restarts: int, base: float, ran: float) -> Next:
    """Decide what follows a failed attempt.

    Args:
        reason: of its cause.
        attempt: that failed, from 1.
        restarts: counted ones so far.
        max_restarts: of the spec.
        base: ``restartBackoffSeconds``.
        ran: seconds since the attempt got its nodes; 0 if it never ran on all of them.
    """
    kind = rule(reason)
    if kind is Retry.NEVER:
        return Next(
            False, False, 0.0, reason, f"Not retried: {_REMEDY.get(reason, 'running it again cannot help')}."
        )
    if kind is Retry.COUNTED and restarts >= max_restarts:
        how = f"after {restarts} of {max_restarts} restarts" if max_restarts else "since maxRestarts is 0"
        return Next(False, False, 0.0, "RestartsExhausted", f"Not retried {how}.")
    delay = backoff(base, attempt, ran)
    if kind is Retry.COUNTED:
        words = f"Restart {restarts + 1} of {max_restarts} in {delay:.0f} s."
    elif kind is Retry.FREE:
        words = f"It starts again in {delay:.0f} s; this does not count against maxRestarts."
    else:
        words = f"Its nodes are free for others; it queues again in {delay:.0f} s."
    return Next(True, kind is Retry.COUNTED, delay, reason, words)


def backoff(base: float, attempt: int, ran: float) -> float:
    """Return the wait after an attempt: doubled with each, at most ``MAX_BACKOFF_SECONDS``.

    An attempt that ran for longer than the longest wait has shown that starting works, so the next one
    waits no longer than the first did.
    """
    if ran > MAX_BACKOFF_SECONDS:
        return min(base, MAX_BACKOFF_SECONDS)
    # 2 ** 9 seconds are above the longest wait whatever the base is, and huge powers are not computed.
    return float(min(base * 2 ** min(attempt - 1, 9), MAX_BACKOFF_SECONDS))
