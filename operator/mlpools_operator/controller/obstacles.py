"""What stood in the way of a plan: names that somebody else has, refusals by the cluster, absent volumes.

An obstacle is handed to one pass and then forgotten: that pass says it in the status, and the next
attempt finds out anew whether it still stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mlpools_operator.cluster import errors
from mlpools_operator.cluster.objects import Cluster
from mlpools_operator.controller.store import Family
from mlpools_operator.domain.notebook.volumes import PATIENCE_SECONDS, Question
from mlpools_operator.domain.observed import Child, JobChild, Told

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
        self._asked: dict[str, tuple[float, str]] = {}

    async def words(self, family: Family) -> tuple[str, float | None]:
        """Return the API server's refusal, if any, and in how many seconds to ask again, if at all."""
        job = _short_of_pods(family)
        if job is None:
            return "", None
        now = self._clock()
        at, words = self._asked.get(job.meta.uid, (0.0, ""))
        due = max(job.meta.created + _PATIENCE, at + _ASK_AGAIN)
        if now < due:
            return words, due - now
        self._asked = {uid: last for uid, last in self._asked.items() if now - last[0] < _ASK_AGAIN}
        try:
            messages = await self._cluster.refusals(job.meta.namespace, job.meta.uid)
        except errors.Refused:  # no right to read Events: then the user has to
            return "", None
        words = messages[-1].removeprefix("Error creating: ") if messages else ""
        self._asked[job.meta.uid] = now, words
        return words, _ASK_AGAIN


class Volumes:
    """Finds out what keeps the volumes of a notebook's pod away.

    Only Events say so, and they are asked for only while a pod waits: one that starts soon costs no request.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._cluster, self._clock = cluster, clock
        self._asked: dict[str, tuple[float, tuple[Told, ...]]] = {}

    async def told(self, question: Question | None) -> tuple[tuple[Told, ...], float | None]:
        """Return what Events say of what is in question, and in how many seconds to ask again, if at all."""
        if question is None:
            return (), None
        now, uid = self._clock(), question.about.uid
        at, told = self._asked.get(uid, (0.0, ()))
        due = max(question.since + PATIENCE_SECONDS, at + _ASK_AGAIN)
        if now < due:
            return told, due - now
        self._asked = {known: last for known, last in self._asked.items() if now - last[0] < _ASK_AGAIN}
        try:
            told = tuple(await self._cluster.events(question.about))
        except errors.Refused:  # no right to read Events: then the user has to
            return (), None
        self._asked[uid] = now, told
        return told, _ASK_AGAIN


def _short_of_pods(family: Family) -> JobChild | None:
    job = next((job for job in reversed(family.jobs) if not job.ended and not job.meta.deleting), None)
    if job is None:
        return None
    made = {pod.rank for pod in family.pods if pod.job == job.meta.uid}
    return job if len(made) < job.parallelism else None
