"""Whose reports do not come, for so long that a person should know."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from mlpools_operator.domain.observed import Unheard

#: From the first question to a running pod: a supervisor answers within a second, on a busy machine in a few.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Quiet:
    attempt: int
    since: float
    why: Unheard
    told: bool = False


class UnheardJobs:
    """Jobs whose rank 0 has not once answered in its present attempt.

    One that has answered before is left out: its last report stands in the status with its time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._quiet: dict[str, _Quiet] = {}

    def why(self, uid: str) -> Unheard | None:
        """Return why a job's reports do not come; None if they do, or may just be late."""
        quiet = self._quiet.get(uid)
        return quiet.why if quiet is not None and quiet.told else None

    def heard(self, uid: str) -> None:
        """Note that a job's report was read."""
        self._quiet.pop(uid, None)

    def missed(self, uid: str, attempt: int, why: Unheard) -> bool:
        """Note that a job's report was not to be had; return whether that is news by now."""
        now = self._clock()
        known = self._quiet.get(uid)
        if known is None or known.attempt != attempt:
            known = _Quiet(attempt, now, why)
        told = now - known.since >= PATIENCE_SECONDS
        self._quiet[uid] = replace(known, why=why, told=told)
        return told and (not known.told or known.why is not why)

    def keep(self, uids: Collection[str]) -> None:
        """Forget all other jobs."""
        self._quiet = {uid: quiet for uid, quiet in self._quiet.items() if uid in uids}
