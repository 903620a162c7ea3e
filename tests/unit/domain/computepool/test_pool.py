from __future__ import annotations

from dataclasses import replace

from mlpools_operator.domain import times
from mlpools_operator.domain.computepool import pool
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pool.ledger import Candidate, Pods, Surroundings
from mlpools_operator.domain.queue import admission
from tests.support.domain_values import NOW, a_candidate, a_pool
from tests.support.operator_sim import DEFAULTS


def _plan(resource: Resource, *candidates: Candidate, now: float = NOW) -> Plan:
    decision = admission.decide(resource, candidates, Surroundings(), now, DEFAULTS.families)
    return pool.plan(resource, pool.Observed(decision, candidates), now, DEFAULTS)


def test_a_pool_tells_what_it_holds_and_who_waits() -> None:
    status = _plan(
        a_pool(),
        a_candidate("one", 3, admitted=True, held=3, pods=Pods(scheduled=3, running=3)),
        a_candidate("two", 2, priority=3),
    ).status
    assert status is not None
    assert status["state"] == "Active"
    assert status["shape"] == "2 CPU, 4Gi"
    assert status["nodes"] == {"target": 3, "active": 3, "idle": 0, "min": 0, "max": 4, "summary": "3/0/4"}
    assert (status["jobs"], status["queued"]) == (1, 1)
    assert status["queue"] == [
        {
            "kind": "TrainingJob",
            "namespace": "team-a",
            "name": "two",
            "position": 1,
            "nodes": 2,
            "priority": 3,
            "since": times.stamp(NOW - 60),
            "reason": "WaitingForNodes",
        }
    ]
    assert [(it["type"], it["status"]) for it in status["conditions"]] == [("Ready", "True")]


def test_an_equal_look_writes_nothing_and_a_newly_admitted_job_counts() -> None:
    resource, jobs = a_pool(), (a_candidate("one", 3),)
    status = _plan(resource, *jobs).status
    assert status is not None
    assert (status["jobs"], status["nodes"]["active"]) == (1, 3)
    assert status["lastActivityTime"] == times.stamp(NOW)
    again = replace(resource, status=status)
    assert _plan(again, *jobs, now=NOW + 60).status is None
    idle = _plan(again, now=NOW + 90).status
    assert idle is not None
    assert (idle["state"], idle["lastActivityTime"]) == ("Idle", times.stamp(NOW + 90))


def test_an_invalid_pool_says_so() -> None:
    status = _plan(replace(a_pool(), spec={"maxNodes": 4})).status
    assert status is not None
    assert {it["type"]: (it["status"], it["reason"]) for it in status["conditions"]} == {
        "Ready": ("False", "InvalidSpec"),
        "Stalled": ("True", "InvalidSpec"),
    }


def test_the_queue_shows_fifty() -> None:
    waiting = [a_candidate(f"job-{n:02d}", 4) for n in range(70)]
    status = _plan(a_pool(), a_candidate("one", 4, admitted=True, held=4), *waiting).status
    assert status is not None
    assert (status["queued"], [it["position"] for it in status["queue"]]) == (70, list(range(1, 51)))


def test_a_pool_that_is_deleted_is_left_alone() -> None:
    gone = a_pool()
    assert _plan(replace(gone, meta=replace(gone.meta, deleting=True))) == Plan()
