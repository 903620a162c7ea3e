"""The status of a job at each stage of its life, always built whole.

Of the status before only what has to be remembered is carried over: counters, the times of transitions,
the last progress, and what the last failure was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlpools.contract.ends import Final
from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import JobSpec, JobStatus, QueuePlace, ScheduleStatus
from mlpools_operator.domain import paused, times, wording
from mlpools_operator.domain.attempt import suspects
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.attempt.retries import Next
from mlpools_operator.domain.attempt.starting import Trouble
from mlpools_operator.domain.attempt.stopping import Stop
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.job import figures, progress_unknown
from mlpools_operator.domain.job.drafting import Drafting
from mlpools_operator.domain.job.facts import STOPPING
from mlpools_operator.domain.job.figures import Lack
from mlpools_operator.domain.observed import Unheard
from mlpools_operator.domain.pool.ledger import Verdict
from mlpools_operator.domain.queue import places
from mlpools_operator.domain.reasons import Retry

_NOT_ALL_RUN = "Not all of its pods run yet."
_NONE_RUNS = "None of its pods is meant to run now."
_IN_ORDER = "The job is in order."
_ENDED = "The job has ended."


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of an attempt that works.

    Attributes:
        ready: nodes with a pod that runs.
        trouble: what is in the way of the others, if that is to be told.
        report: newest of rank 0, perhaps of an earlier attempt.
        unheard: why none comes.
        bare: whether the job's command may run without mlpools in its pods.
        slow: names the rank that holds up the others, if one does.
    """

    ready: int
    trouble: Trouble | None = None
    report: Report | None = None
    unheard: Unheard | None = None
    bare: bool = False
    slow: str = ""


class Draft(Drafting):
    """Builds the next status of one job at one moment."""

    def keep(self) -> JobStatus:
        """Leave everything as it is, and say that the present spec was looked at."""
        return self.before.model_copy(update={"observed_generation": self._job.meta.generation})

    def paused(self) -> JobStatus:
        """Nothing of it is changed, and that is all that it says."""
        return self._told.model_copy(update={"conditions": paused.shown(self._told.conditions, self._now)})

    def expired(self, tool: str, ttl: int) -> JobStatus:
        """Its TTL is over, and it stays all the same."""
        message = (
            f"Its pods, Jobs and Service were deleted {ttl} s after its end (ttlSecondsAfterFinished). "
            f"The object stays: {tool} would make it again, and it would run once more."
        )
        names = (condition.type for condition in self.before.conditions)
        conditions = self._conditions().keep(*names).set("Expired", True, "TrackedByTool", message)
        return self.keep().model_copy(update={"conditions": conditions.all()})

    def template(
        self, phase: str, reason: str, conditions: ConditionList, schedule: ScheduleStatus | None
    ) -> JobStatus:
        """It makes runs of itself and never runs, so that this is all there is to say."""
        made: JobStatus = self.kind.status(
            phase=phase,
            reason=reason,
            conditions=conditions.all(),
            observed_generation=self._job.meta.generation,
            schedule=schedule,
        )
        return made

    def queued(self, spec: JobSpec, reason: str, message: str, verdict: Verdict) -> JobStatus:
        """It waits for nodes, or for what has to be there first."""
        place = self.place(reason, message, verdict)
        conditions = self._conditions().keep("Suspended").set("Admitted", False, reason, message)
        return self._status("Queued", _idle(conditions, "Queued"), spec, reason=reason, queue=place)

    def place(self, reason: str, message: str, verdict: Verdict) -> QueuePlace:
        """Return where it stands in the queue."""
        return places.place(self.before.queue, reason, message, verdict, self._now)

    def admit(self, spec: JobSpec, family: str, nodes: int) -> JobStatus:
        """The next attempt gets its nodes, of that family; its children follow in the next pass."""
        attempt = self.before.attempt + 1
        conditions = self._conditions()
        conditions.set("Admitted", True, "Admitted", _holds(attempt, nodes, spec))
        return self._status(
            "Starting",
            _idle(conditions, "Starting"),
            spec,
            attempt=attempt,
            instance_family=family,
            start_time=self.before.start_time or times.stamp(self._now),
            **self.kind.holding.granted(self.before, nodes, self._now),
            **self.kind.account.begun(self.before, spec),
        )

    def starting(self, spec: JobSpec, trouble: Trouble | None) -> JobStatus:
        """Its pods are made, placed and started; ``trouble`` is in the way."""
        conditions = self._conditions().keep("Admitted")
        if trouble is None:
            return self._status("Starting", _idle(conditions, "Starting"), spec)
        conditions.set("PodsReady", False, trouble.reason, f"{trouble.message}.")
        conditions.set("Running", False, "Starting", _NOT_ALL_RUN)
        conditions.set("Ready", True, "Accepted", _IN_ORDER)
        return self._status("Starting", conditions, spec, reason=trouble.reason)

    def resized(self, spec: JobSpec, nodes: int, lost: int) -> JobStatus:
        """Its attempt gets more nodes, or gives some back; its Job follows in the next pass.

        Args:
            spec: of the job.
            nodes: that it has from now on.
            lost: nodes of workers that only failed.
        """
        names = (condition.type for condition in self.before.conditions)
        conditions = self._conditions().keep(*names)
        back = f" {wording.count(lost, 'node')} given back: a worker there only failed." if lost else ""
        conditions.set("Admitted", True, "Admitted", _holds(self.before.attempt, nodes, spec) + back)
        changes = self.kind.holding.granted(self.before, nodes, self._now, lost)
        return self.keep().model_copy(update={"conditions": conditions.all(), **changes})

    def run(self, spec: JobSpec, seen: Seen) -> JobStatus:
        """It works, on all its nodes or on as many as are ready."""
        size, attempt = self.size(spec), self.before.attempt
        conditions = self._conditions().keep("Admitted")
        if seen.ready == size:
            conditions.set("PodsReady", True, "AllReady", f"All {size} pods run.")
        else:
            why = f" {seen.trouble.message}." if seen.trouble else ""
            reason = seen.trouble.reason if seen.trouble else "Starting"
            conditions.set("PodsReady", False, reason, f"{seen.ready} of {size} pods run.{why}")
        mine = seen.report if seen.report and seen.report.attempt == attempt else None
        told = self.kind.account.conditions(mine)
        for said in (self.kind.words.running(attempt, seen.ready), *told):
            conditions.set(said.name, True, said.reason, said.message)
        if seen.slow:
            conditions.set("Slowed", True, "RankSlow", seen.slow)
        conditions.set("Ready", True, "Accepted", _IN_ORDER)
        progress_unknown.tell(conditions, attempt, seen.report, seen.unheard, bare=seen.bare)
        changes = self.kind.account.reported(self.before, seen.report, self._now)
        return self._status("Running", conditions, spec, ready=seen.ready, lacked_capacity=None, **changes)

    def stops(self, stop: Stop, finals: Sequence[Final]) -> JobStatus:
        """Its pods are told to end; until they have, it holds its nodes."""
        names = (condition.type for condition in self.before.conditions)
        conditions = self._conditions().keep(*names).set(STOPPING, True, stop.reason, stop.message)
        changes = {
            "reason": stop.reason,
            "conditions": conditions.all(),
            **self.kind.account.left(self.before, finals),
        }
        return self.keep().model_copy(update=changes)

    def suspended(self, spec: JobSpec, stop: Stop, finals: Sequence[Final], not_before: float) -> JobStatus:
        """It rests and holds nothing; a back-off goes on meanwhile."""
        conditions = self._conditions().set("Admitted", False, stop.reason, stop.message)
        conditions.set("Suspended", True, stop.reason, stop.message)
        return self._status(
            "Suspended",
            _idle(conditions, stop.reason),
            spec,
            reason=stop.reason,
            not_before=self._later(not_before),
            **self._left(spec, finals),
        )

    def requeued(self, spec: JobSpec, stop: Stop, finals: Sequence[Final], not_before: float) -> JobStatus:
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
            **self._left(spec, finals),
        )

    def again(
        self,
        spec: JobSpec,
        cause: Cause,
        message: str,
        after: Next,
        causes: Sequence[Cause] = (),
        lack: Lack | None = None,
    ) -> JobStatus:
        """The attempt is over and a new one may follow, once the back-off is over and nodes are free."""
        reason = cause.reason
        conditions = self._conditions().set("Admitted", False, reason, message)
        waits = self.kind.rule(reason) is Retry.WAIT
        return self._status(
            "Queued" if waits else "Restarting",
            _idle(conditions, reason),
            spec,
            reason=reason,
            restarts=self.before.restarts + after.counted,
            not_before=times.deadline(self._now + after.delay),
            failed=causes,
            suspect_nodes=suspects.after(self.before.suspect_nodes, cause),
            **self._left(spec, _finals(causes)),
            **self.kind.account.failed(self.before, cause, self._now),
            **(figures.lacked(lack, self._now) if lack else {}),
        )

    def fail(
        self,
        spec: JobSpec | None,
        reason: str,
        message: str,
        causes: Sequence[Cause] = (),
        finals: Sequence[Final] = (),
    ) -> JobStatus:
        """It has failed for good."""
        conditions = self._failed(reason, message)
        conditions.set("Ready", False, reason, message).set("Stalled", True, reason, message)
        return self._end("Failed", conditions, spec, reason, (*finals, *_finals(causes)), causes)

    def cancelled(self, spec: JobSpec, stop: Stop, finals: Sequence[Final]) -> JobStatus:
        """It has ended early; that is no failure to those who ask for ``Ready`` if its author wanted it."""
        conditions = self._failed(stop.reason, stop.message)
        conditions.set("Ready", spec.cancel, stop.reason, stop.message)
        if not spec.cancel:
            conditions.set("Stalled", True, stop.reason, stop.message)
        return self._end("Cancelled", conditions, spec, stop.reason, finals)

    def complete(self, spec: JobSpec, final: Final | None, message: str) -> JobStatus:
        """It is done; ``final`` is None if the report of rank 0 was lost."""
        reason = "Succeeded" if final else "ReportUnavailable"
        conditions = self._conditions().keep("Admitted")
        conditions.set("PodsReady", False, "Complete", _ENDED).set("Running", False, "Complete", _ENDED)
        conditions.set("Complete", True, reason, message).set("Ready", True, "Complete", _ENDED)
        for said in self.kind.account.conditions(final):
            conditions.set(said.name, True, said.reason, said.message)
        return self._status(
            "Succeeded",
            conditions,
            spec,
            completion_time=times.stamp(self._now),
            **self._spent(spec),
            **(self.kind.account.finished(self.before, final) if final else {}),
        )

    def _failed(self, reason: str, message: str) -> ConditionList:
        """Return what holds of a job that ended without a result."""
        conditions = self._conditions()
        if self.before.attempt:
            conditions.keep("Admitted")
        else:
            conditions.set("Admitted", False, reason, "It was never admitted.")
        conditions.set("PodsReady", False, "Failed", _ENDED).set("Running", False, "Failed", _ENDED)
        return conditions.set("Failed", True, reason, message)

    def _end(
        self,
        phase: str,
        conditions: ConditionList,
        spec: JobSpec | None,
        reason: str,
        finals: Sequence[Final],
        causes: Sequence[Cause] = (),
    ) -> JobStatus:
        return self._status(
            phase,
            conditions,
            spec,
            reason=reason,
            completion_time=times.stamp(self._now),
            failed=causes,
            **self._left(spec, finals),
            **(self.kind.account.failed(self.before, causes[0], self._now) if causes else {}),
        )


def _finals(causes: Sequence[Cause]) -> tuple[Final, ...]:
    return tuple(cause.final for cause in causes if cause.final is not None)


def _holds(attempt: int, nodes: int, spec: JobSpec) -> str:
    return f"Attempt {attempt} holds {wording.count(nodes, 'node')} of pool {spec.compute_pool}."


def _idle(conditions: ConditionList, reason: str) -> ConditionList:
    """Add what holds while no pod is expected to run: the job is in order, and does not run."""
    words = _NOT_ALL_RUN if reason == "Starting" else _NONE_RUNS
    return (
        conditions.set("PodsReady", False, reason, words)
        .set("Running", False, reason, words)
        .set("Ready", True, "Accepted", _IN_ORDER)
    )
