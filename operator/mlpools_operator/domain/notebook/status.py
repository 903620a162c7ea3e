"""The status of a notebook at each stage of its life, always built whole."""

from __future__ import annotations

import math
from typing import Any

from mlpools_operator.api.v1alpha1 import (
    ClusterStatus,
    LackedCapacity,
    NotebookRuntimeSpec,
    NotebookRuntimeStatus,
    ScheduleStatus,
    WorkspaceRun,
)
from mlpools_operator.domain import paused, times, wording
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.conditions import ConditionList, holds, since
from mlpools_operator.domain.notebook.idle import Idleness
from mlpools_operator.domain.notebook.starting import Hindrance
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool.ledger import Verdict
from mlpools_operator.domain.queue import places

STOPPING = "Stopping"
STOPPED = "Stopped"
SCHEDULED = "Scheduled"
#: A moment of use that is so little newer than the one that was told is not worth a write.
TELL_SECONDS = 40.0

_LACK_BYTES = 512
_IN_ORDER = "The notebook is in order."


class Draft:
    """Builds the next status of one notebook at one moment.

    Attributes:
        before: the status as it was, but for the condition that it is paused: that one is made anew.
    """

    def __init__(self, notebook: Resource, now: float) -> None:
        self._told = NotebookRuntimeStatus.model_validate(notebook.status)
        lasting = tuple(it for it in self._told.conditions if it.type != paused.CONDITION)
        self.before = self._told.model_copy(update={"conditions": lasting})
        self._notebook, self._now = notebook, now

    @property
    def admitted(self) -> bool:
        """Whether it holds its node."""
        return holds(self.before.conditions, "Admitted")

    @property
    def admitted_at(self) -> float:
        """When it got its node."""
        return since(self.before.conditions, "Admitted")

    @property
    def serving(self) -> bool:
        """Whether its program was seen to answer."""
        return holds(self.before.conditions, "Serving")

    @property
    def serving_since(self) -> float:
        """When it began to."""
        return since(self.before.conditions, "Serving")

    @property
    def stop(self) -> Stop | None:
        """Why it was told to stop, None if it was not."""
        return self._words(STOPPING)

    @property
    def stopping_since(self) -> float:
        """When it was told to stop."""
        return since(self.before.conditions, STOPPING)

    @property
    def rest(self) -> Stop | None:
        """Why it rests, None if it does not."""
        return self._words(STOPPED)

    def _words(self, name: str) -> Stop | None:
        found = (it for it in self.before.conditions if it.type == name and it.status == "True")
        return next((Stop(it.reason, it.message) for it in found), None)

    def keep(self) -> NotebookRuntimeStatus:
        """Leave everything as it is, and say that the present spec was looked at."""
        return self.before.model_copy(update={"observed_generation": self._notebook.meta.generation})

    def paused(self) -> NotebookRuntimeStatus:
        """Nothing of it is changed, and that is all that it says."""
        return self._told.model_copy(update={"conditions": paused.shown(self._told.conditions, self._now)})

    def refused(self, reason: str, message: str) -> NotebookRuntimeStatus:
        """It cannot run as it is; a changed spec is looked at anew."""
        conditions = self._conditions()
        if self.admitted:  # what runs goes on, by the spec as whose it was started
            conditions.keep(*(it.type for it in self.before.conditions))
            conditions.set("Ready", False, reason, message).set("Stalled", True, reason, message)
            return self.keep().model_copy(update={"conditions": conditions.all()})
        conditions.keep(STOPPED).set("Admitted", False, reason, message)
        conditions.set("Ready", False, reason, message).set("Stalled", True, reason, message)
        return self._status("Failed", conditions, reason=reason)

    def queued(self, reason: str, message: str, verdict: Verdict) -> NotebookRuntimeStatus:
        """It waits for a node, or for what has to be there first."""
        place = places.place(self.before.queue, reason, message, verdict, self._now)
        conditions = self._conditions().set("Admitted", False, reason, message)
        conditions.set("Serving", False, "Queued", "It waits for a node.")
        conditions.set("Ready", False, reason, message)
        return self._status("Queued", conditions, reason=reason, queue=place, cluster=None)

    def with_cluster(self, cluster: ClusterStatus | None) -> Draft:
        """Return a draft that tells this of its cluster, whatever else it tells."""
        other = Draft(self._notebook, self._now)
        other.before = self.before.model_copy(update={"cluster": cluster})
        return other

    def with_schedule(
        self, told: ScheduleStatus | None, run: WorkspaceRun | None, said: tuple[bool, str, str] | None
    ) -> Draft:
        """Return a draft that tells this of its schedule, whatever else it tells.

        Args:
            told: how the schedule stands; None without one.
            run: that has the workspace.
            said: whether runs start at their times, why in a word, and in a sentence.
        """
        conditions = ConditionList(self.before.conditions, self._now)
        if said is not None:
            conditions.set(SCHEDULED, *said)
        conditions.keep(*(it.type for it in self.before.conditions if it.type != SCHEDULED))
        changes = {"schedule": told, "run": run, "conditions": conditions.all()}
        other = Draft(self._notebook, self._now)
        other.before = self.before.model_copy(update=changes)
        return other

    def resized(self, nodes: int) -> NotebookRuntimeStatus:
        """It has so many further nodes from now on; their pods follow in the next pass."""
        known = self.before.cluster or ClusterStatus()
        return self.keep().model_copy(update={"cluster": known.model_copy(update={"nodes": nodes})})

    def admit(self, spec: NotebookRuntimeSpec, family: str, token_secret: str) -> NotebookRuntimeStatus:
        """It gets its node, of that family; its children follow in the next pass."""
        attempt = self.before.attempt + 1
        conditions = self._conditions()
        message = f"Start {attempt} holds 1 node of pool {spec.compute_pool}."
        conditions.set("Admitted", True, "Admitted", message)
        return self._status(
            "Starting",
            _not_yet(conditions, "Starting", "Its pod is being made."),
            attempt=attempt,
            instance_family=family,
            start_time=times.stamp(self._now),
            token_secret=token_secret,
            last_activity_time=times.stamp(self._now),
            image="",
            cluster=None,
        )

    def starting(
        self, reason: str, message: str, outward: Hindrance | None, idleness: Idleness | None = None
    ) -> NotebookRuntimeStatus:
        """Its pod is made, placed and started.

        Args:
            reason: what is in the way; empty in the ordinary course.
            message: how far it is, or that in a sentence.
            outward: what keeps it from connecting as its spec says.
            idleness: how far it is from its stop, if its container runs.
        """
        conditions = self._conditions().keep("Admitted")
        _tell_outward(conditions, outward)
        _not_yet(conditions, reason or "Starting", message)
        if idleness is None or not idleness.near or idleness.stops_at is None:
            return self._status("Starting", conditions, reason=reason)
        used, stops_at = self._times(idleness)
        conditions.set("Idle", True, *_warning(idleness, used, str(stops_at)))
        return self._status("Starting", conditions, reason=reason, last_activity_time=used, idle_at=stops_at)

    def serves(
        self,
        idleness: Idleness,
        url: str,
        image: str,
        *,
        gpu_unseen: bool,
        trouble: str,
        outdated: str,
        outward: Hindrance | None,
    ) -> NotebookRuntimeStatus:
        """Its program answers.

        Args:
            idleness: how far it is from its stop.
            url: where it is.
            image: that it runs.
            gpu_unseen: nobody can see whether its GPUs work.
            trouble: what is in its way although it answers.
            outdated: how what runs differs from what the next start would bring.
            outward: what keeps it from connecting as its spec says.
        """
        conditions = self._conditions().keep("Admitted").set("Serving", True, "Serving", "It answers.")
        used, stops_at = self._times(idleness)
        if idleness.near and stops_at is not None:
            conditions.set("Idle", True, *_warning(idleness, used, stops_at))
        if idleness.unknown:
            message = "Its pod does not tell whether it is used, so it does not stop by itself."
            conditions.set("ActivityUnknown", True, "NotSeen", message)
        if outdated:
            conditions.set("Outdated", True, "Changed", outdated)
        _tell_outward(conditions, outward)
        if gpu_unseen:
            conditions.set("GpuUseUnknown", True, "NotSeen", "Its GPUs are not seen: their work is no use.")
        conditions.set("Ready", True, "Trouble" if trouble else "Serving", trouble or _IN_ORDER)
        idle = idleness.near and not idleness.busy
        return self._status(
            "Idle" if idle else "Running",
            conditions,
            url=url,
            image=image,
            last_activity_time=used,
            idle_at=stops_at,
            lacked_capacity=None,
        )

    def _times(self, idleness: Idleness) -> tuple[str, str | None]:
        """Return when it was used and when it stops, as they are told: exactly once it is nearly time."""
        told = times.seconds(self.before.last_activity_time)
        moved = idleness.used - told
        used = idleness.used
        if not idleness.near:
            # The second that is told: the next pass counts from that one, and would tell another end.
            used = told if 0 <= moved < TELL_SECONDS else math.floor(used)
        if idleness.stops_at is None:
            return times.stamp(used), None
        return times.stamp(used), times.deadline(idleness.stops_at - (idleness.used - used))

    def lacks(self, stop: Stop, words: str, following: str) -> NotebookRuntimeStatus:
        """It found no machine in time, gives its node back, and asks for that family next."""
        told = LackedCapacity(
            instance_family=self.before.instance_family,
            time=times.stamp(self._now),
            message=wording.fit(words, _LACK_BYTES),
        )
        return self.stops(stop).model_copy(update={"lacked_capacity": told, "instance_family": following})

    def stops(self, stop: Stop) -> NotebookRuntimeStatus:
        """Its pod is told to end; until it has, it holds its node."""
        names = (it.type for it in self.before.conditions)
        conditions = self._conditions().keep(*names).set(STOPPING, True, stop.reason, stop.message)
        stopped_at = self.before.stopped_at if self.stop else times.stamp(self._now)
        changes = {"reason": stop.reason, "conditions": conditions.all(), "stopped_at": stopped_at}
        return self.keep().model_copy(update=changes)

    def rests(self, stop: Stop) -> NotebookRuntimeStatus:
        """It is stopped and holds nothing: the state asked for, or the one that its spec leads to."""
        conditions = self._conditions().set("Admitted", False, stop.reason, stop.message)
        conditions.set("Serving", False, stop.reason, stop.message)
        conditions.set(STOPPED, True, stop.reason, stop.message)
        conditions.set("Ready", True, STOPPED, stop.message)
        stopped_at = self.before.stopped_at or times.stamp(self._now)
        changes = {"reason": stop.reason, "stopped_at": stopped_at, "cluster": None}
        return self._status("Stopped", conditions, **changes)

    def _conditions(self) -> ConditionList:
        return ConditionList(self.before.conditions, self._now).keep(SCHEDULED)

    def _status(self, phase: str, conditions: ConditionList, **changes: Any) -> NotebookRuntimeStatus:
        told = {
            "phase": phase,
            "conditions": conditions.all(),
            "observed_generation": self._notebook.meta.generation,
            **changes,
        }
        return NotebookRuntimeStatus(**{**dict(self.before), **_FORGOTTEN, **told})


#: What is true for one stage only; the rest is carried over. ``stopped_at`` outlives the stop in the queue:
#: a wish to start is older than the next one.
_FORGOTTEN = {"reason": "", "queue": None, "url": "", "idle_at": None}


def _tell_outward(conditions: ConditionList, outward: Hindrance | None) -> None:
    if outward is not None and outward.reason:
        conditions.set("EgressIncomplete", True, outward.reason, outward.message)


def _not_yet(conditions: ConditionList, reason: str, message: str) -> ConditionList:
    return conditions.set("Serving", False, reason, message).set("Ready", False, reason, message)


def _warning(idleness: Idleness, used: str, stops_at: str) -> tuple[str, str]:
    if idleness.busy:
        return (
            "MaxBusy",
            f"It stops at {stops_at} although something runs in it: for idle.maxBusySeconds nobody has done "
            "anything. Do something in it, or raise that, to keep it.",
        )
    return (
        "Unused",
        f"Nobody has used it since {used}: it stops at {stops_at}. Use it, or raise idleSeconds, to keep it.",
    )
