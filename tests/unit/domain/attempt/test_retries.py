from __future__ import annotations

from typing import Any

import pytest

from mlpools.contract.ends import REASONS
from mlpools_operator.domain import reasons
from mlpools_operator.domain.attempt import retries
from mlpools_operator.domain.attempt.retries import Next
from mlpools_operator.domain.reasons import Retry


def _after(reason: str, **changes: Any) -> Next:
    given: dict[str, Any] = {"attempt": 1, "restarts": 0, "max_restarts": 3, "base": 10.0, "ran": 60.0}
    return retries.after(reason, reasons.rule(reason), **{**given, **changes})


@pytest.mark.parametrize(
    "reason",
    ["InvalidSpec", "OutputExists", "DataNotReadable", "BadHyperParameter", "PackageNotAllowed",
     "CheckpointMismatch", "UserCodeError", "OutOfMemory"],
)  # fmt: skip
def test_what_cannot_succeed_is_not_retried(reason: str) -> None:
    after = _after(reason)
    assert (after.retry, after.reason) == (False, reason)
    assert after.words.startswith("Not retried: ")


@pytest.mark.parametrize(
    "reason",
    ["Hung", "ImagePullFailed", "FabricTooSlow", "StartTimeout", "WorkerCrashed", "PeerLost",
     "OutputNotWritable"],
)  # fmt: skip
def test_what_may_pass_is_retried_so_often(reason: str) -> None:
    assert _after(reason, restarts=2) == Next(True, True, 10.0, reason, "Restart 3 of 3 in 10 s.")
    exhausted = _after(reason, restarts=3)
    assert (exhausted.retry, exhausted.reason) == (False, "RestartsExhausted")
    assert _after(reason, max_restarts=0).words == "Not retried since maxRestarts is 0."


@pytest.mark.parametrize("reason", ["NodeLost", "Preempted"])
def test_what_the_cluster_did_does_not_count(reason: str) -> None:
    after = _after(reason, restarts=3)
    assert (after.retry, after.counted) == (True, False)


@pytest.mark.parametrize("reason", ["SecretMissing", "PodsRefused", "NameConflict", "Unschedulable"])
def test_what_the_cluster_lacks_is_waited_for(reason: str) -> None:
    assert reasons.rule(reason) is Retry.WAIT
    assert _after(reason, restarts=3).retry


def test_every_exit_code_has_a_rule() -> None:
    assert {reasons.rule(reason) for reason in REASONS.values()} == set(Retry)


def test_the_wait_doubles_up_to_five_minutes() -> None:
    waits = [retries.backoff(10, attempt, 60) for attempt in range(1, 9)]
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    assert retries.backoff(10, 10**9, 60) == 300


def test_an_attempt_that_ran_for_long_starts_the_wait_over() -> None:
    assert retries.backoff(10, 7, retries.MAX_BACKOFF_SECONDS + 1) == 10


def test_two_jobs_that_wait_for_the_cluster_do_not_come_back_together() -> None:
    spreads = {retries.spread(uid, attempt) for uid in ("a", "b") for attempt in range(1, 11)}
    assert len(spreads) == 20
    assert all(0 <= it <= 1 for it in spreads)
    assert retries.spread("a", 1) == retries.spread("a", 1)
    assert _after("Unschedulable", spread=0.5).delay == 12.5
    assert _after("Unschedulable", base=300, spread=1.0).delay == 375
    assert _after("Hung", spread=1.0).delay == 10, "what failed by itself meets nobody"
