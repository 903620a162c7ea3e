"""What stood in the way of a plan: names that somebody else has, and refusals by the cluster.

An obstacle is handed to one pass and then forgotten: that pass says it in the status, and the next
attempt finds out anew whether it still stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mlpools_operator.cluster import errors
from mlpools_operator.cluster.objects import Cluster
from mlpools_operator.controller.store import Family
from mlpools_operator.domain.observed import Child, JobChild

#: The Job controller makes pods within a second; it has met a refusal if some are missing after this.
_PATIENCE = 5.0
_ASK_AGAIN = 10.0


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What a plan ran into.

    Attributes:
        foreign: same-named objects of somebody else.
        refused: the API server's words when it refused an object.
    """

    foreign: tuple[Child, ...] = ()
    refused: str = ""


class Obstacles:
    """Obstacles by the UID of the resource that met them."""

    def __init__(self) -> None:
        self._by_uid: dict[str, Obstacle] = {}

    def add_foreign(self, uid: str, child: Child) -> None:
        """Note that somebody else has the name of a planned object."""
        known = self._by_uid.get(uid, Obstacle())
        self._by_uid[uid] = replace(known, foreign=(*known.foreign, child))

    def add_refusal(self, uid: str, words: str) -> None:
        """Note that the API server refused a planned object."""
        known = self._by_uid.get(uid, Obstacle())
        self._by_uid[uid] = replace(known, refused=known.refused or words)

    def take(self, uid: str) -> Obstacle:
        """Return what was noted, once."""
        return self._by_uid.pop(uid, Obstacle())


class MissingPods:
    """Finds out why the Job controller does not make the pods of a Job.

    A quota, Pod Security or an absent service account refuses pods, not their Job, and only Events say
    so. They are asked for in that case alone: a job that gets its pods costs no request.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._cluster, self._clock = cluster, clock
        self._asked: dict[str, float] = {}

    async def words(self, family: Family) -> tuple[str, float | None]:
        """Return the API server's refusal, if any, and in how many seconds to ask again, if at all."""
        job = _short_of_pods(family)
        if job is None:
            return "", None
        now = self._clock()
        due = max(job.meta.created + _PATIENCE, self._asked.get(job.meta.uid, 0.0) + _ASK_AGAIN)
        if now < due:
            return "", due - now
        self._asked = {uid: at for uid, at in self._asked.items() if now - at < _ASK_AGAIN}
        self._asked[job.meta.uid] = now
        try:
            messages = await self._cluster.refusals(job.meta.namespace, job.meta.uid)
        except errors.Refused:  # no right to read Events: then the user has to
            return "", None
        return (messages[-1].removeprefix("Error creating: ") if messages else ""), _ASK_AGAIN


def _short_of_pods(family: Family) -> JobChild | None:
    job = next((job for job in reversed(family.jobs) if not job.ended and not job.meta.deleting), None)
    if job is None:
        return None
    made = {pod.rank for pod in family.pods if pod.job == job.meta.uid}
    return job if len(made) < job.parallelism else None
