"""Lack of capacity: which of a pool's families an attempt asks for.

An attempt that did not get machines for all its pods in time gives back those that it got, and the job's
next one asks for the following family; after the last comes the first again. Other jobs of the pool need not
wait to find out for themselves: they begin with what the newest attempt found to be there, and a pool that
uses a backup turns back to its first family after ``MEMORY_SECONDS``. The warm nodes of a pool that nobody
uses find out in the same way. All of it is read from pods and from the statuses of the jobs and the pool, so
a restart of the operator changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import (
    ComputePoolSpec,
    ComputePoolStatus,
    JobStatus,
    LackedCapacity,
    NotebookRuntimeStatus,
)
from mlpools_operator.domain import times, wording
from mlpools_operator.domain.conditions import ConditionList, since
from mlpools_operator.domain.pool import families

CONDITION = "CapacityAvailable"
#: For so long what an attempt found is news; cloud providers and autoscalers try again in half an hour, too.
MEMORY_SECONDS = 1800.0
_WORDS_BYTES = 512


@dataclass(frozen=True, slots=True)
class Finding:
    """What an attempt, or an idle pool's warm nodes, found out about machines of a family.

    Attributes:
        family: its name, empty if the pool has an instance of its own.
        at: when, in seconds since the epoch.
        lacking: what kept it from getting a machine for each pod; empty if it got them.
    """

    family: str
    at: float
    lacking: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The family with which the next job begins.

    Attributes:
        until: when the pool turns back to its first family unless something new is found; None = open.
        finding: the newest one.
    """

    family: str
    until: float | None = None
    finding: Finding | None = None


def choose(
    spec: ComputePoolSpec, before: ComputePoolStatus, findings: Iterable[Finding], now: float
) -> Choice:
    """Choose the family that a pool uses.

    Args:
        spec: of the pool, from ``families.read``.
        before: its status.
        findings: of its jobs and warm nodes; what its status remembers counts with them.
        now: seconds since the epoch.
    """
    names = families.order(spec)
    ours = (finding for finding in (*findings, *_told(before)) if finding.family in names)
    # Of one second what was got counts: who lacked something looks again, and often finds it at once.
    newest = max(ours, key=lambda it: (it.at, not it.lacking, it.lacking, it.family), default=None)
    if newest is not None:
        at = newest.at
        family = families.following(spec, newest.family) if newest.lacking else newest.family
    else:
        at = since(before.conditions, CONDITION)
        family = before.instance_family
    if family not in names[1:] or now >= at + MEMORY_SECONDS:
        return Choice(names[0], finding=newest)
    return Choice(family, at + MEMORY_SECONDS, newest)


def _told(before: ComputePoolStatus) -> tuple[Finding, ...]:
    """Return the lack that the pool's status tells of: whoever found it may be gone."""
    lack = before.lacked_capacity
    return (Finding(lack.instance_family, times.seconds(lack.time), lack.message),) if lack else ()


def in_use(spec: ComputePoolSpec, before: ComputePoolStatus) -> str:
    """Return the family that a pool's status tells, or the first one: what its warm nodes ask for.

    They follow what is stored. Otherwise a status that is written late would leave warm nodes of a family
    about which nobody remembers why it is that one.
    """
    names = families.order(spec)
    return before.instance_family if before.instance_family in names else names[0]


def remember(finding: Finding | None) -> LackedCapacity | None:
    """Return what the pool's status remembers of the newest finding: a lack."""
    if finding is None or not finding.lacking:
        return None
    words = wording.fit(finding.lacking, _WORDS_BYTES)
    return LackedCapacity(instance_family=finding.family, time=times.stamp(finding.at), message=words)


def tell(conditions: ConditionList, choice: Choice) -> None:
    """Add the pool's condition; nothing is said before a first attempt has looked for machines."""
    newest = choice.finding
    if newest is None:
        conditions.keep(CONDITION)
    elif newest.lacking:
        what = f"machines of family {newest.family}" if newest.family else "machines"
        other = choice.family != newest.family
        then = f" Next comes family {choice.family}." if other else ""
        message = f"There were not enough {what}: {newest.lacking.rstrip('.')}.{then}"
        conditions.set(CONDITION, False, "Unschedulable", message)
    else:
        conditions.set(CONDITION, True, "Scheduled", "The last pods that looked for machines all got one.")


def begin_with(spec: ComputePoolSpec, job: JobStatus | NotebookRuntimeStatus, in_use: str, now: float) -> str:
    """Return the family of a job's next attempt: what its own last one left to try, else the pool's.

    Args:
        spec: of the pool, from ``families.read``.
        job: status of the job, or the notebook.
        in_use: by the pool, as its status has it.
        now: seconds since the epoch.
    """
    lack = job.lacked_capacity
    own = lack is not None and now < times.seconds(lack.time) + MEMORY_SECONDS
    wanted = job.instance_family if own else in_use
    names = families.order(spec)
    return wanted if wanted in names else names[0]
