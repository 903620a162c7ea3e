"""The status of a TrainingJob at each stage of its life, always built whole.

Of the status before only what has to be remembered is carried over: counters, the times of transitions,
the last progress, and what the last failure was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlpools.contract import Final, Report
from mlpools_operator.api.v1alpha1 import QueuePlace, TrainingJobSpec, TrainingJobStatus
from mlpools_operator.domain import outputs, paused, times, wording
from mlpools_operator.domain.attempt import reports, suspects
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.attempt.retries import Next
from mlpools_operator.domain.attempt.starting import Trouble
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.pool.ledger import Verdict
from mlpools_operator.domain.reasons import Retry, rule
from mlpools_operator.domain.training import figures
from mlpools_operator.domain.training.facts import STOPPING, Facts
from mlpools_operator.domain.training.figures import Lack

_NOT_ALL_RUN = "Not all of its pods run yet."


class Draft(Facts):
    """Builds the next status of one job at one moment."""

    def keep(self) -> TrainingJobStatus:
        """Leave everything as it is, and say that the present spec was looked at."""
        return self.before.model_copy(update={"observed_generation": self._job.meta.generation})

    def paused(self) -> TrainingJobStatus:
        """Nothing of it is changed, and that is all that it says."""
        return self._told.model_copy(update={"conditions": paused.shown(self._told.conditions, self._now)})

    def expired(self, tool: str, ttl: int) -> TrainingJobStatus:
        """Its TTL is over, and it stays all the same."""
        message = (
            f"Its pods, Jobs and Service were deleted {ttl} s after its end (ttlSecondsAfterFinished). "
            f"The object stays: {tool} would make it again, and it would run once more."
        )
        names = (condition.type for condition in self.before.conditions)
        conditions = self._conditions().keep(*names).set("Expired", True, "TrackedByTool", message)
        return self.keep().model_copy(update={"conditions": conditions.all()})

    def queued(self, spec: TrainingJobSpec, reason: str, message: str, verdict: Verdict) -> TrainingJobStatus:
        """It waits for nodes, or for what has to be there first."""
        place = self.place(reason, message, verdict)
        conditions = self._conditions().keep("Suspended").set("Admitted", False, reason, message)
        return self._status("Queued", _idle(conditions, "Queued"), spec, reason=reason, queue=place)

    def place(self, reason: str, message: str, verdict: Verdict) -> QueuePlace:
        """Return where it stands in the queue; what is said already keeps the time when it was said."""
        place = QueuePlace(
            position=verdict.position, ahead=verdict.ahead, reason=reason, message=wording.fit(message)
        )
        told = self.before.queue
        if told is not None and told.model_copy(update={"updated_at": None}) == place:
            return told
        return place.model_copy(update={"updated_at": times.stamp(self._now)})

    def admit(self, spec: TrainingJobSpec, family: str) -> TrainingJobStatus:
        """The next attempt gets its nodes, of that family; its children follow in the next pass."""
        attempt = self.before.attempt + 1
        held = wording.count(spec.nodes, "node")
        conditions = self._conditions()
        conditions.set(
            "Admitted", True, "Admitted", f"Attempt {attempt} holds {held} of pool {spec.compute_pool}."
        )
        return self._status(
            "Starting",
            _idle(conditions, "Starting"),
            spec,
            attempt=attempt,
            instance_family=family,
            start_time=self.before.start_time or times.stamp(self._now),
            output=figures.output(
                self.before,
                logs_url=reports.url(outputs.logs_url(spec)),
                checkpoint_url=reports.url(outputs.checkpoint_url(spec)),
            ),
        )

    def starting(self, spec: TrainingJobSpec, trouble: Trouble | None) -> TrainingJobStatus:
        """Its pods are made, placed and started; ``trouble`` is in the way."""
        conditions = self._conditions().keep("Admitted")
        if trouble is None:
            return self._status("Starting", _idle(conditions, "Starting"), spec)
        conditions.set("PodsReady", False, trouble.reason, f"{trouble.message}.")
        conditions.set("Running", False, "Starting", _NOT_ALL_RUN)
        conditions.set("Ready", True, "Accepted")
        return self._status("Starting", conditions, spec, reason=trouble.reason)

    def run(self, spec: TrainingJobSpec, report: Report | None) -> TrainingJobStatus:
        """All its pods run."""
        nodes = wording.count(spec.nodes, "node")
        conditions = self._conditions().keep("Admitted")
        conditions.set("PodsReady", True, "AllReady", f"All {spec.nodes} pods run.")
        conditions.set("Running", True, "Training", f"Attempt {self.before.attempt} trains on {nodes}.")
        conditions.set("Ready", True, "Accepted")
        changes = {"lacked_capacity": None, **figures.reported(self.before, report, self._now)}
        return self._status("Running", conditions, spec, ready=spec.nodes, **changes)

    def stops(self, stop: Stop, checkpoint_step: int) -> TrainingJobStatus:
        """Its pods are told to end; until they have, it holds its nodes."""
        names = (condition.type for condition in self.before.conditions)
        conditions = self._conditions().keep(*names).set(STOPPING, True, stop.reason, stop.message)
        changes = {
            "reason": stop.reason,
            "conditions": conditions.all(),
            "output": figures.output(self.before, checkpoint_step),
        }
        return self.keep().model_copy(update=changes)

    def suspended(
        self, spec: TrainingJobSpec, stop: Stop, checkpoint_step: int, not_before: float
    ) -> TrainingJobStatus:
        """It rests and holds nothing; a back-off goes on meanwhile."""
        conditions = self._conditions().set("Admitted", False, stop.reason, stop.message)
        conditions.set("Suspended", True, stop.reason, stop.message)
        return self._status(
            "Suspended",
            _idle(conditions, stop.reason),
            spec,
            reason=stop.reason,
            not_before=self._later(not_before),
            node_seconds=self._spent(spec),
            output=figures.output(self.before, checkpoint_step),
        )

    def requeued(
        self, spec: TrainingJobSpec, stop: Stop, checkpoint_step: int, not_before: float
    ) -> TrainingJobStatus:
        """It was stopped, and asks for nodes again; one that rested goes on telling since when it does."""
        conditions = self._conditions().set("Admitted", False, stop.reason, stop.message)
        if self.rests:
            conditions.set("Suspended", False, stop.reason, stop.message)
        return self._status(
            "Queued",
            _idle(conditions, "Queued"),
            spec,
            reason=stop.reason,
            queue=self.place(stop.reason, stop.message, Verdict(False)),
            not_before=self._later(not_before),
            node_seconds=self._spent(spec),
            output=figures.output(self.before, checkpoint_step),
        )

    def again(
        self,
        spec: TrainingJobSpec,
        cause: Cause,
        message: str,
        after: Next,
        causes: Sequence[Cause] = (),
        lack: Lack | None = None,
    ) -> TrainingJobStatus:
        """The attempt is over and a new one may follow, once the back-off is over and nodes are free."""
        reason = cause.reason
        conditions = self._conditions().set("Admitted", False, reason, message)
        waits = rule(reason) is Retry.WAIT
        return self._status(
            "Queued" if waits else "Restarting",
            _idle(conditions, reason),
            spec,
            reason=reason,
            restarts=self.before.restarts + after.counted,
            not_before=times.deadline(self._now + after.delay),
            node_seconds=self._spent(spec),
            failed=causes,
            output=figures.output(self.before, max((it.checkpoint_step for it in causes), default=0)),
            suspect_nodes=suspects.after(self.before.suspect_nodes, cause),
            **figures.refused_network(self.before, cause, self._now),
            **(figures.lacked(lack, self._now) if lack else {}),
        )

    def fail(
        self,
        spec: TrainingJobSpec | None,
        reason: str,
        message: str,
        causes: Sequence[Cause] = (),
        checkpoint_step: int = 0,
    ) -> TrainingJobStatus:
        """It has failed for good."""
        conditions = self._failed(reason, message)
        conditions.set("Ready", False, reason, message).set("Stalled", True, reason, message)
        newest = max([checkpoint_step, *(cause.checkpoint_step for cause in causes)])
        return self._end("Failed", conditions, spec, reason, newest, causes)

    def cancelled(self, spec: TrainingJobSpec, stop: Stop, checkpoint_step: int) -> TrainingJobStatus:
        """It has ended early; that is no failure to those who ask for ``Ready`` if its author wanted it."""
        conditions = self._failed(stop.reason, stop.message)
        conditions.set("Ready", spec.cancel, stop.reason, stop.message)
        if not spec.cancel:
            conditions.set("Stalled", True, stop.reason, stop.message)
        return self._end("Cancelled", conditions, spec, stop.reason, checkpoint_step)

    def complete(self, spec: TrainingJobSpec, final: Final | None, message: str) -> TrainingJobStatus:
        """It is done; ``final`` is None if the report of rank 0 was lost."""
        reason = "Succeeded" if final else "ReportUnavailable"
        conditions = self._conditions().keep("Admitted")
        conditions.set("PodsReady", False, "Complete").set("Running", False, "Complete")
        conditions.set("Complete", True, reason, message).set("Ready", True, "Complete")
        return self._status(
            "Succeeded",
            conditions,
            spec,
            completion_time=times.stamp(self._now),
            node_seconds=self._spent(spec),
            **(figures.result(self.before, final) if final else {}),
        )

    def _failed(self, reason: str, message: str) -> ConditionList:
        """Return what holds of a job that ended without a result."""
        conditions = self._conditions()
        if self.before.attempt:
            conditions.keep("Admitted")
        else:
            conditions.set("Admitted", False, reason, "It was never admitted.")
        conditions.set("PodsReady", False, "Failed").set("Running", False, "Failed")
        return conditions.set("Failed", True, reason, message)

    def _end(
        self,
        phase: str,
        conditions: ConditionList,
        spec: TrainingJobSpec | None,
        reason: str,
        checkpoint_step: int,
        causes: Sequence[Cause] = (),
    ) -> TrainingJobStatus:
        return self._status(
            phase,
            conditions,
            spec,
            reason=reason,
            completion_time=times.stamp(self._now),
            node_seconds=self._spent(spec),
            failed=causes,
            **(figures.refused_network(self.before, causes[0], self._now) if causes else {}),
            output=figures.output(self.before, checkpoint_step),
        )

    def _conditions(self) -> ConditionList:
        return ConditionList(self.before.conditions, self._now)

    def _status(
        self,
        phase: str,
        conditions: ConditionList,
        spec: TrainingJobSpec | None,
        *,
        ready: int = 0,
        failed: Sequence[Cause] = (),
        **changes: Any,
    ) -> TrainingJobStatus:
        before = self.before
        carried = {name: getattr(before, name) for name in _CARRIED}
        if phase != "Running":
            carried["progress"] = reports.halted(before.progress)
            carried["dashboard_url"] = ""
        return TrainingJobStatus(
            phase=phase,
            conditions=conditions.all(),
            observed_generation=self._job.meta.generation,
            nodes=figures.nodes(before, spec.nodes if spec else None, ready, failed),
            **{**carried, **changes},
        )

    def _later(self, moment: float) -> str | None:
        return times.deadline(moment) if moment > self._now else None

    def _spent(self, spec: TrainingJobSpec | None) -> float | None:
        known = self.before.nodes.requested if self.before.nodes else 0
        return figures.node_seconds(self.before, spec.nodes if spec else known, self.held_for)


_CARRIED = (
    "attempt",
    "fabric",
    "instance_family",
    "lacked_capacity",
    "suspect_nodes",
    "restarts",
    "start_time",
    "progress",
    "dashboard_url",
    "output",
    "node_seconds",
)


def _idle(conditions: ConditionList, reason: str) -> ConditionList:
    """Add what holds while no pod is expected to run: the job is in order, and does not train."""
    return (
        conditions.set("PodsReady", False, reason)
        .set("Running", False, reason)
        .set("Ready", True, "Accepted")
    )
