"""The status of a TrainingJob at each stage of its life, always built whole.

Of the status before only what has to be remembered is carried over: counters, the times of transitions,
the last progress, and what the last failure was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlpools.contract import Final, Report
from mlpools_operator.api.v1alpha1 import (
    FailedPod,
    JobNodes,
    JobOutput,
    LackedCapacity,
    Progress,
    QueuePlace,
    TrainingJobSpec,
    TrainingJobStatus,
)
from mlpools_operator.domain import pods, reports, times, wording
from mlpools_operator.domain.conditions import ConditionList, holds, since
from mlpools_operator.domain.failures import Cause
from mlpools_operator.domain.ledger import Verdict
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.retries import Next, Retry, rule
from mlpools_operator.domain.starting import Trouble

_FAILED_SHOWN = 16
_POD_MESSAGE_BYTES = 512
_WORD_BYTES = 253
_NOT_ALL_RUN = "Not all of its pods run yet."


@dataclass(frozen=True, slots=True)
class Lack:
    """Too few machines for an attempt.

    Attributes:
        family: that it asked for.
        following: the family to try next.
        words: of the scheduler.
    """

    family: str
    following: str
    words: str


class Draft:
    """Builds the next status of one job at one moment.

    Attributes:
        before: the status as it was.
    """

    def __init__(self, job: Resource, now: float) -> None:
        self.before = TrainingJobStatus.model_validate(job.status)
        self._job = job
        self._now = now

    @property
    def ended(self) -> bool:
        """Whether the job is complete or has failed, for good."""
        return self._holds("Complete") or self._holds("Failed")

    @property
    def admitted(self) -> bool:
        """Whether it holds its nodes for the current attempt."""
        return self._holds("Admitted")

    @property
    def running(self) -> bool:
        """Whether all pods of the current attempt were seen running."""
        return self._holds("Running")

    @property
    def admitted_at(self) -> float:
        """When the current attempt got its nodes."""
        return since(self.before.conditions, "Admitted")

    @property
    def not_before(self) -> float:
        """When its back-off ends; 0 without one."""
        return times.seconds(self.before.not_before)

    def keep(self) -> TrainingJobStatus:
        """Leave everything as it is, and say that the present spec was looked at."""
        return self.before.model_copy(update={"observed_generation": self._job.meta.generation})

    def queued(self, spec: TrainingJobSpec, reason: str, message: str, verdict: Verdict) -> TrainingJobStatus:
        """It waits for nodes, or for what has to be there first."""
        place = self.place(reason, message, verdict)
        conditions = self._conditions().set("Admitted", False, reason, message)
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
            output=self._output(
                logs_url=reports.url(pods.logs_url(spec)),
                checkpoint_url=reports.url(pods.checkpoint_url(spec)),
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
        changes = {"lacked_capacity": None, **self._reported(report)}
        return self._status("Running", conditions, spec, ready=spec.nodes, **changes)

    def again(
        self,
        spec: TrainingJobSpec,
        reason: str,
        message: str,
        after: Next,
        causes: Sequence[Cause] = (),
        lack: Lack | None = None,
    ) -> TrainingJobStatus:
        """The attempt is over and a new one may follow, once the back-off is over and nodes are free."""
        conditions = self._conditions().set("Admitted", False, reason, message)
        waits = rule(reason) is Retry.WAIT
        return self._status(
            "Queued" if waits else "Restarting",
            _idle(conditions, reason),
            spec,
            reason=reason,
            restarts=self.before.restarts + after.counted,
            not_before=times.deadline(self._now + after.delay),
            node_seconds=self._node_seconds(spec.nodes),
            failed=causes,
            output=self._output(checkpoint_step=max((it.checkpoint_step for it in causes), default=0)),
            **(self._lacked(lack) if lack else {}),
        )

    def fail(
        self, spec: TrainingJobSpec | None, reason: str, message: str, causes: Sequence[Cause] = ()
    ) -> TrainingJobStatus:
        """It has failed for good."""
        conditions = self._conditions()
        if self.before.attempt:
            conditions.keep("Admitted")
        else:
            conditions.set("Admitted", False, reason, "It was never admitted.")
        conditions.set("PodsReady", False, "Failed").set("Running", False, "Failed")
        conditions.set("Failed", True, reason, message)
        conditions.set("Ready", False, reason, message).set("Stalled", True, reason, message)
        return self._status(
            "Failed",
            conditions,
            spec,
            reason=reason,
            completion_time=times.stamp(self._now),
            node_seconds=self._node_seconds(spec.nodes if spec else 0),
            failed=causes,
            output=self._output(checkpoint_step=max((it.checkpoint_step for it in causes), default=0)),
        )

    def complete(self, spec: TrainingJobSpec, final: Final | None, message: str) -> TrainingJobStatus:
        """It is done; ``final`` is None if the report of rank 0 was lost."""
        reason = "Succeeded" if final else "ReportUnavailable"
        conditions = self._conditions().keep("Admitted")
        conditions.set("PodsReady", False, "Complete").set("Running", False, "Complete")
        conditions.set("Complete", True, reason, message).set("Ready", True, "Complete")
        report: dict[str, Any] = {}
        if final:
            named = {name: final.outputs.get(key, "") for name, key in _OUTPUTS.items()}
            report = {
                "progress": reports.finished(self.before.progress, final),
                "metrics": final.metrics,
                "output": self._output(
                    **{name: value for name, value in named.items() if value},
                    checkpoint_step=final.checkpoint_step,
                ),
            }
        return self._status(
            "Succeeded",
            conditions,
            spec,
            completion_time=times.stamp(self._now),
            node_seconds=self._node_seconds(spec.nodes),
            **report,
        )

    def _holds(self, condition: str) -> bool:
        return holds(self.before.conditions, condition)

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
        return TrainingJobStatus(
            phase=phase,
            conditions=conditions.all(),
            observed_generation=self._job.meta.generation,
            nodes=self._nodes(spec, ready, failed),
            **{**carried, **changes},
        )

    def _nodes(self, spec: TrainingJobSpec | None, ready: int, failed: Sequence[Cause]) -> JobNodes:
        before = self.before.nodes or JobNodes()
        requested = spec.nodes if spec else before.requested
        return JobNodes(
            requested=requested,
            ready=ready,
            failed=tuple(_failed_pod(cause) for cause in failed[:_FAILED_SHOWN]) or before.failed,
            failed_count=len(failed) or before.failed_count,
            summary=f"{ready}/{requested}",
        )

    def _output(self, checkpoint_step: int = 0, **urls: str) -> JobOutput | None:
        before = self.before.output or JobOutput()
        newest = max(checkpoint_step, before.checkpoint_step)
        output = before.model_copy(update={**urls, "checkpoint_step": newest})
        return output if output != JobOutput() else None

    def _lacked(self, lack: Lack) -> dict[str, Any]:
        """Return what is remembered of a lack of machines."""
        told = LackedCapacity(
            instance_family=lack.family,
            time=times.stamp(self._now),
            message=wording.fit(lack.words, _POD_MESSAGE_BYTES),
        )
        return {"instance_family": lack.following, "lacked_capacity": told}

    def _reported(self, report: Report | None) -> dict[str, Any]:
        """Return what rank 0's report changes; a report that says nothing new changes nothing."""
        if report is None or report.attempt != self.before.attempt:
            return {}
        new = reports.progress(report)
        if new is None or new == _untimed(self.before.progress):
            return {}
        step = reports.count(report.checkpoint_step)
        return {
            "progress": new.model_copy(update={"updated_at": times.stamp(self._now)}),
            "output": self._output(checkpoint_step=step),
        }

    def _node_seconds(self, nodes: int) -> float | None:
        """Return the node seconds of all attempts, the one that ends now included."""
        spent = nodes * max(0.0, self._now - self.admitted_at) if self.admitted else 0.0
        total = round((self.before.node_seconds or 0.0) + spent, 1)
        return total or self.before.node_seconds


_CARRIED = (
    "attempt",
    "instance_family",
    "lacked_capacity",
    "restarts",
    "start_time",
    "progress",
    "output",
    "node_seconds",
)

_OUTPUTS = {
    "model_url": "modelURL",
    "metrics_url": "metricsURL",
    "result_url": "resultURL",
    "logs_url": "logsURL",
    "checkpoint_url": "checkpointURL",
}


def _idle(conditions: ConditionList, reason: str) -> ConditionList:
    """Add what holds while no pod is expected to run: the job is in order, and does not train."""
    return (
        conditions.set("PodsReady", False, reason)
        .set("Running", False, reason)
        .set("Ready", True, "Accepted")
    )


def _untimed(progress: Progress | None) -> Progress | None:
    return progress and progress.model_copy(update={"updated_at": None})


def _failed_pod(cause: Cause) -> FailedPod:
    return FailedPod(
        rank=cause.rank or 0,
        pod=wording.fit(cause.pod, _WORD_BYTES),
        node=wording.fit(cause.node, _WORD_BYTES),
        reason=cause.reason,
        exit_code=cause.exit_code,
        message=wording.fit(cause.message, _POD_MESSAGE_BYTES),
    )
