"""Every exit code of a pod before a real API server: what the job says of it, and what follows."""

from __future__ import annotations

import pytest

from mlpools.contract.ends import REASONS, Exit, Final
from mlpools_operator.domain.kinds import JOB_KINDS
from mlpools_operator.domain.reasons import Retry
from tests.support.bench import Bench
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

WORDS = "This is what the pod said."
#: By rule: phase, counted restarts, and the conditions that GitOps tools read.
MEANS = {
    Retry.NEVER: ("Failed", 0, {"Ready": "False", "Stalled": "True"}),
    Retry.COUNTED: ("Restarting", 1, {"Ready": "True"}),
    Retry.FREE: ("Restarting", 0, {"Ready": "True"}),
    Retry.WAIT: ("Queued", 0, {"Ready": "True"}),
}
Outcome = tuple[str, str, int, dict[str, str]]


def name_of(code: int) -> str:
    return f"exit-{code}"


def outcome(bench: Bench, code: int) -> Outcome:
    """Wait for what follows an exit code, and return reason, phase, restarts and conditions."""
    status = bench.phase(name_of(code), *(phase for phase, _, _ in MEANS.values()))["status"]
    assert any(WORDS in it["message"] for it in status["conditions"]), status["conditions"]
    conditions = {
        it["type"]: it["status"] for it in status["conditions"] if it["type"] in ("Ready", "Stalled")
    }
    return status["reason"], status["phase"], status["restarts"], conditions


def events(bench: Bench) -> set[tuple[str, str, str]]:
    return {
        (it["involvedObject"]["name"], it["type"], it["reason"])
        for it in bench.kube.list("Event", bench.namespace)
        if it["involvedObject"]["kind"] == bench.kind
    }


def test_what_each_exit_code_of_a_pod_means_for_its_job(either: Bench) -> None:
    either.kube.patch("ComputePool", either.pool, {"spec": {"maxNodes": len(REASONS)}})
    either.operator().wait_ready()
    for code in REASONS:
        either.submit(name_of(code), nodes=1, restartBackoffSeconds=300)
    for code in REASONS:
        pods = either.kubelet.pods(name_of(code), 1, 1)
        either.kubelet.run(pods)
        either.phase(name_of(code), "Running")
        either.kubelet.finish(pods, Final(code, rank=0, message=WORDS), Exit(code))
    rule = JOB_KINDS[either.kind].rule
    assert {code: outcome(either, code) for code in REASONS} == {
        code: (reason, *MEANS[rule(reason)]) for code, reason in REASONS.items()
    }
    told = {(name_of(code), "Warning", reason) for code, reason in REASONS.items()}
    wait_for("an Event for each", lambda: events(either) == told)
