"""What follows a failure: whether a new attempt can help, and when it may begin."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mlpools_operator.domain.reasons import Retry, remedy

MAX_BACKOFF_SECONDS = 300.0
#: Whatever waits for the cluster waits up to so much longer, each job differently: two gangs that hold half
#: of the same machines give up at the same moment, and would meet for ever if they came back together.
_SPREAD_SECONDS = 5.0
_SPREAD_SHARE = 0.25


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


def after(
    reason: str,
    kind: Retry,
    *,
    attempt: int,
    restarts: int,
    max_restarts: int,
    base: float,
    ran: float,
    spread: float = 0.0,
) -> Next:
    """Decide what follows a failed attempt.

    Args:
        reason: of its cause.
        kind: what that means for the job.
        attempt: that failed, from 1.
        restarts: counted ones so far.
        max_restarts: of the spec.
        base: ``restartBackoffSeconds``.
        ran: seconds since the attempt got its nodes; 0 if it never ran on all of them.
        spread: of this attempt, see ``spread``.
    """
    if kind is Retry.NEVER:
        return Next(False, False, 0.0, reason, f"Not retried: {remedy(reason)}.")
    if kind is Retry.COUNTED and restarts >= max_restarts:
        how = f"after {restarts} of {max_restarts} restarts" if max_restarts else "since maxRestarts is 0"
        return Next(False, False, 0.0, "RestartsExhausted", f"Not retried {how}.")
    delay = backoff(base, attempt, ran)
    if kind is Retry.COUNTED:
        words = f"Restart {restarts + 1} of {max_restarts} in {delay:.0f} s."
    elif kind is Retry.FREE:
        words = f"It starts again in {delay:.0f} s; this does not count against maxRestarts."
    else:
        delay += spread * max(_SPREAD_SECONDS, delay * _SPREAD_SHARE)
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


def spread(uid: str, attempt: int) -> float:
    """Return a number from 0 to 1: always the same for one attempt of a job, another one for any other."""
    digest = hashlib.sha256(f"{uid}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4]) / 0xFFFFFFFF
