"""Nodes on machines that are lost: nobody waits for them in silence, and others may give theirs instead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlpools_operator.domain import times
from mlpools_operator.domain.attempt import stranded
from mlpools_operator.domain.pool.holding import KILL_SECONDS
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Stranded, Surroundings
from mlpools_operator.domain.queue import admission
from tests.support.domain_run import Run
from tests.support.domain_values import NOW, a_candidate, a_pod, a_pool

TAKER = a_candidate("taker", 3, priority=5)
#: It was preempted, and one of its two machines is lost.
HALF_LOST = a_candidate(
    "low",
    2,
    admitted=True,
    held=2,
    admitted_at=NOW - 1000,
    stopping=True,
    ending=(Stranded("node-b", NOW - 1),),
)


def _decide(*candidates: Candidate, now: float = NOW) -> Decision:
    heads = [{"uid": TAKER.uid, "since": times.stamp(NOW - 2)}]
    pool = replace(a_pool(queue={"preemption": "LowerPriority"}), status={"heads": heads})
    return admission.decide(pool, candidates, Surroundings(), now)


def _told(decision: Decision) -> str:
    return decision.verdicts[TAKER.uid].message


def test_who_waits_for_a_lost_machine_is_told_which_and_what_helps() -> None:
    other = a_candidate("other", 1, admitted=True, held=1, priority=9, admitted_at=NOW - 1000)
    assert _told(_decide(TAKER, HALF_LOST, other)) == (
        "Needs 3 nodes of pool cpu, 1 of 4 are free: low (team-a) holds 2, 1 of them on node-b until that "
        "answers or its Node is deleted, other (team-a) holds 1. First in the queue. To start sooner, raise "
        "the pool's maxNodes or use nodes: 2."
    )


def test_another_one_of_lower_priority_gives_its_nodes_instead() -> None:
    other = a_candidate("other", 1, admitted=True, held=1, admitted_at=NOW - 1000)
    alive = replace(HALF_LOST, ending=())
    assert not _decide(TAKER, alive, other).verdicts[other.uid].evict
    assert _decide(TAKER, HALF_LOST, other).verdicts[other.uid].evict


def test_until_a_pod_is_overdue_it_is_waited_for_and_then_looked_at_again() -> None:
    other = a_candidate("other", 1, admitted=True, held=1, admitted_at=NOW - 1000)
    slow = replace(HALF_LOST, ending=(Stranded("node-b", NOW + 7),))
    decision = _decide(TAKER, slow, other)
    assert (decision.verdicts[other.uid].evict, decision.requeue_after) == (False, 7)
    assert "it starts when the pods that are ending are gone" in _told(decision)
    assert _decide(TAKER, slow, other, now=NOW + 7).verdicts[other.uid].evict


def test_a_pod_is_stranded_when_its_machine_was_given_up_or_its_kubelet_does_not_kill_it() -> None:
    lost = a_pod(0, disruption="DeletionByTaintManager", disrupted=NOW, gone_by=NOW + 60)
    late = a_pod(1, gone_by=NOW + 60)
    assert stranded.look([lost, late, a_pod(2)]) == (
        Stranded("node-0", NOW),
        Stranded("node-1", NOW + 60 + KILL_SECONDS),
    )
    assert stranded.look([replace(lost, phase="Failed"), replace(late, node="")]) == ()


@pytest.mark.parametrize("restarts", [False, True])
def test_a_job_of_higher_priority_does_not_wait_for_a_victims_lost_machine(restarts: bool) -> None:
    run = Run(max_nodes=4, steps=1000, queue={"preemption": "LowerPriority"})
    run.world.machines = {"node-a": 1, "node-b": 3}
    for name in ("low", "other"):
        run.submit(name, nodes=2)
        run.until(name, "Running")
    assert [pod["spec"]["nodeName"] for pod in run.pods("other")] == ["node-a", "node-b"]
    run.world.lose("node-a")
    run.submit("urgent", nodes=2, priority=5)
    for _ in range(60):
        run.go(1)
        if restarts:
            run.operator.restart()
    assert run.status("urgent")["phase"] == "Running"
    assert "on node-a until that answers" in run.status("low")["queue"]["message"]
    assert {run.status(name)["restarts"] for name in ("low", "other")} == {0}
