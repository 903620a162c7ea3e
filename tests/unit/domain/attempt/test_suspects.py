from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.ends import Exit
from mlpools_operator.api.v1alpha1 import SuspectNode
from mlpools_operator.domain.attempt import suspects
from mlpools_operator.domain.attempt.failures import Cause, Gravity
from tests.support.domain_run import Run

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _cause(node: str = "node-b", reason: str = "WorkerCrashed") -> Cause:
    return Cause(Gravity.CRASH, reason, "it crashed", node=node)


@pytest.mark.parametrize("reason", ["NodeLost", "Hung", "WorkerCrashed", "FabricTooSlow"])
def test_what_a_machine_can_bring_about_counts(reason: str) -> None:
    once = suspects.after((), _cause(reason=reason))
    assert (once, suspects.avoided(once)) == ((SuspectNode(node="node-b", failures=1),), ())
    assert suspects.avoided(suspects.after(once, _cause(reason=reason))) == ("node-b",)
    assert suspects.avoided(suspects.after(once, _cause("node-a", reason))) == ()


@pytest.mark.parametrize(
    "reason", ["UserCodeError", "OutOfMemory", "DataNotReadable", "Preempted", "PeerLost"]
)
def test_what_follows_the_job_everywhere_does_not(reason: str) -> None:
    once = suspects.after((), _cause())
    assert suspects.after(once, _cause(reason=reason)) == once
    assert suspects.after(once, _cause(node="")) == once


@given(st.lists(st.integers(0, 30), max_size=200))
def test_the_record_is_bounded_and_keeps_those_that_are_avoided(nodes: list[int]) -> None:
    known: tuple[SuspectNode, ...] = ()
    for node in nodes:
        known = suspects.after(known, _cause(f"node-{node}"))
        names = [it.node for it in known]
        assert len(set(names)) == len(names) <= suspects.REMEMBERED
        assert [it.failures for it in known] == sorted((it.failures for it in known), reverse=True)
        assert f"node-{node}" in names or all(it.failures > 1 for it in known)
    freed = suspects.after(known, _cause(reason="Unschedulable"))
    assert suspects.avoided(freed) == ()
    assert {it.node for it in freed} == {it.node for it in known} - set(suspects.avoided(known))


def _field(name: str) -> dict[str, Any]:
    return {"key": "metadata.name", "operator": "NotIn", "values": [name]}


def _asks(*terms: dict[str, Any], **affinity: Any) -> dict[str, Any]:
    """A pod template with these terms in its node affinity."""
    required = {REQUIRED: {"nodeSelectorTerms": list(terms)}}
    return {"spec": {"restartPolicy": "Never", "affinity": {**affinity, "nodeAffinity": required}}}


def test_pods_keep_away_whatever_else_they_ask_of_machines() -> None:
    pod: dict[str, Any] = {"spec": {"restartPolicy": "Never"}}
    assert suspects.keep_away(pod, ()) is pod
    away = _asks({"matchFields": [_field("a"), _field("b")]})
    assert suspects.keep_away(pod, ("a", "b")) == away
    zones = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [name]}]} for name in "xy"]
    other = {"podAffinity": {"some": "thing"}}
    narrowed = [{**zone, "matchFields": [_field("a")]} for zone in zones]
    assert suspects.keep_away(_asks(*zones, **other), ("a",)) == _asks(*narrowed, **other)
    odd = {"spec": {"restartPolicy": "Never", "affinity": {"nodeAffinity": "none"}}}
    assert suspects.keep_away(odd, ("a",)) == _asks({"matchFields": [_field("a")]})


def _crash(run: Run) -> str:
    """Let the job's one pod crash, and say where it ran."""
    run.until("flights", "Running", rounds=500)
    (pod,) = run.pods("flights")
    run.world.kill(pod)
    run.go(3)
    return str(pod["spec"]["nodeName"])


def test_a_machine_that_fails_a_job_twice_gets_no_third_attempt() -> None:
    run = Run(steps=1000)
    run.world.machines = {"node-a": 1, "node-b": 8}
    run.submit("flights", nodes=1)
    assert [_crash(run), _crash(run)] == ["node-b", "node-b"]
    status = run.status("flights")
    assert status["suspectNodes"] == [{"node": "node-b", "failures": 2}]
    assert "It avoids node-b from now on." in status["conditions"][0]["message"]
    assert _crash(run) == "node-a"
    run.world.steps = 1
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"


def test_an_errors_author_is_the_user_wherever_it_happens() -> None:
    run = Run(steps=1000)
    run.submit("flights", nodes=1)
    run.until("flights", "Running")
    run.world.kill(run.pods("flights")[0], Exit.USER_CODE, message="KeyError")
    run.settle()
    assert run.status("flights")["suspectNodes"] == []


def test_if_there_is_no_other_machine_the_avoided_one_is_taken_again() -> None:
    run = Run(steps=1000)
    run.world.machines = {"node-b": 8}
    run.submit("flights", nodes=1)
    assert [_crash(run), _crash(run)] == ["node-b", "node-b"]
    run.until("flights", "Starting", rounds=100)
    run.go(8)
    told = next(it for it in run.status("flights")["conditions"] if it["type"] == "PodsReady")
    assert (
        "; it avoids node-b, which failed this job. Add machines; if there are none in time,"
        in told["message"]
    )
    queued = run.until("flights", "Queued", rounds=400)
    assert (queued["reason"], queued["restarts"]) == ("Unschedulable", 2)
    assert "Then it avoids no machine." in queued["conditions"][0]["message"]
    assert "lackedCapacity" not in queued
    conditions = run.world.get("ComputePool", "", "cpu")["status"]["conditions"]
    assert [it["status"] for it in conditions if it["type"] == "CapacityAvailable"] == ["True"]
    assert _crash(run) == "node-b"
