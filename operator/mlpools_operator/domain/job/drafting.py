"""How any next status of a job is made of the one before: what is carried over, forgotten, and added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlpools.contract.ends import Final
from mlpools_operator.api.v1alpha1 import JobSpec, JobStatus
from mlpools_operator.domain import times
from mlpools_operator.domain.attempt.failures import Cause
from mlpools_operator.domain.conditions import ConditionList
from mlpools_operator.domain.job.facts import Facts

#: What is true for one stage only: the next one says it anew, or it holds no more. The rest is carried over.
_FORGOTTEN = {"reason": "", "queue": None, "not_before": None, "completion_time": None, "schedule": None}


class Drafting(Facts):
    """What the stages of a job's life have in common."""

    def _conditions(self) -> ConditionList:
        return ConditionList(self.before.conditions, self._now).keep(*self.kind.lasting)

    def _status(
        self,
        phase: str,
        conditions: ConditionList,
        spec: JobSpec | None,
        *,
        ready: int = 0,
        failed: Sequence[Cause] = (),
        **changes: Any,
    ) -> JobStatus:
        before = self.before
        halted = {} if phase == "Running" else self.kind.account.halted(before)
        told = {
            "phase": phase,
            "conditions": conditions.all(),
            "observed_generation": self._job.meta.generation,
            **halted,
            **changes,
        }
        nodes = self.kind.holding.nodes(before.model_copy(update=changes), spec, ready, failed)
        made: JobStatus = self.kind.status(**{**dict(before), **_FORGOTTEN, **told, "nodes": nodes})
        return made

    def _later(self, moment: float) -> str | None:
        return times.deadline(moment) if moment > self._now else None

    def _left(self, spec: JobSpec | None, finals: Sequence[Final]) -> dict[str, Any]:
        """Return what an attempt leaves that ends without a result."""
        return {**self._spent(spec), **self.kind.account.left(self.before, finals)}

    def _spent(self, spec: JobSpec | None) -> dict[str, Any]:
        """Return what the nodes come to that an attempt gives back."""
        return dict(self.kind.holding.spent(self.before, spec, self.held_for, self._now))
