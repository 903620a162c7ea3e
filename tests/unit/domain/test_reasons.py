"""What each reason means for a job, by the one table of reasons."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlpools.contract.ends import REASONS
from mlpools_operator.domain.attempt import failures
from mlpools_operator.domain.job import ends
from mlpools_operator.domain.job.status import Draft
from mlpools_operator.domain.job.step import Step
from mlpools_operator.domain.pool.ledger import Verdict
from mlpools_operator.domain.reasons import RULES, Retry
from mlpools_operator.domain.training.kind import TRAINING_JOB
from mlpools_operator.domain.training.preflight import check
from tests.support import trainingjob
from tests.support.domain_values import NOW, a_job, a_pool
from tests.support.operator_sim import DEFAULTS
from tests.support.reasons import job_reasons, words_of_tests

#: What the API promises, by class.
PROMISED = {
    Retry.WAIT: """PoolNotFound PoolNotAllowed PoolSuspended PoolResuming WaitingForNodes BehindInQueue
        NamespaceLimit PriorityTooHigh BudgetSpent QueueFull
        SecretMissing PodsRefused NameConflict Unschedulable""",
    Retry.NEVER: """TooLarge InvalidSpec OutputExists DataNotReadable BadHyperParameter PackageNotAllowed
        CheckpointMismatch UserCodeError DeadlineExceeded Cancelled""",
    Retry.COUNTED: "Hung StartTimeout ImagePullFailed InitContainerFailed FabricTooSlow",
    Retry.FREE: "NodeLost Preempted",
}
#: Only admission, or the job's own author, makes a job wait for these; no attempt ends with them.
OF_THE_QUEUE = (
    "PoolSuspended",
    "PoolResuming",
    "WaitingForNodes",
    "BehindInQueue",
    "QueueFull",
    "PoolNotAllowed",
    "NamespaceLimit",
    "PriorityTooHigh",
    "BudgetSpent",
    "BackOff",
    "Suspended",
    "Resumed",
)


def test_every_reason_that_the_code_gives_is_in_the_table() -> None:
    assert job_reasons() - RULES.keys() == set()


@pytest.mark.parametrize("rule", PROMISED)
def test_the_table_keeps_what_was_promised(rule: Retry) -> None:
    assert {RULES[reason] for reason in PROMISED[rule].split()} == {rule}


#: It is told only between the end of a back-off and the pool's next look; else the cause of the back-off is.
FOR_A_MOMENT = {"BackOff"}


def test_each_reason_is_met_before_a_real_api_server() -> None:
    """By exit code (tests/integration/test_reasons.py goes through all of them), or named in some test."""
    assert RULES.keys() - {*REASONS.values()} - words_of_tests("integration", "e2e") == FOR_A_MOMENT


def failed_with(reason: str, **spec: Any) -> dict[str, Any]:
    """Return the status of a job whose first attempt ended with a reason."""
    job = a_job(nodes=2, **spec)
    admitted = Draft(TRAINING_JOB, job, NOW).admit(check(job, started=False), "", 2).plain()
    job = a_job(nodes=2, status=json.loads(json.dumps(admitted)), **spec)
    step = Step(job, check(job, started=True), Draft(TRAINING_JOB, job, NOW + 60), NOW + 60)
    plan = ends.fail(step, failures.Cause(failures.Gravity.CODE, reason, "it went wrong"))
    assert plan.status is not None
    assert [event.type for event in plan.events] == ["Warning"]
    return dict(plan.status)


@pytest.mark.parametrize("reason", sorted(RULES.keys() - set(OF_THE_QUEUE)))
def test_an_attempt_that_ends_with_it(reason: str) -> None:
    status, rule = failed_with(reason), RULES[reason]
    conditions = {it["type"]: it for it in status["conditions"]}
    if rule is Retry.NEVER:
        assert (status["phase"], status["reason"]) == ("Failed", reason)
        assert (conditions["Ready"]["status"], conditions["Stalled"]["status"]) == ("False", "True")
        assert "notBefore" not in status
        return
    phase = "Queued" if rule is Retry.WAIT else "Restarting"
    assert (status["phase"], status["reason"], conditions["Ready"]["status"]) == (phase, reason, "True")
    assert status["restarts"] == (1 if rule is Retry.COUNTED else 0)
    assert "notBefore" in status
    exhausted = failed_with(reason, maxRestarts=0)
    assert (exhausted["phase"] == "Failed") == (rule is Retry.COUNTED)


@pytest.mark.parametrize("reason", sorted({*OF_THE_QUEUE, *PROMISED[Retry.WAIT].split()}))
def test_a_job_that_waits_for_it_is_in_order(reason: str) -> None:
    observed = trainingjob.Observed(a_pool(), Verdict(False, reason, "It waits.", position=1))
    plan = trainingjob.plan(a_job(), observed, NOW, DEFAULTS)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"], plan.events) == ("Queued", reason, ())
    ready = next(it for it in plan.status["conditions"] if it["type"] == "Ready")
    assert ready["status"] == "True"
