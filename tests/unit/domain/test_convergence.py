"""Plans applied to a simulated cluster: whatever happens in between, the end is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.ends import Exit
from tests.support.domain_run import Run
from tests.support.histories import FAULTS as TROUBLES
from tests.support.histories import JOBS, MODERATE, REPLACED, SHAPES, TURNS, Turn, do
from tests.support.operator_sim import Died, Fuse

Fault = Callable[[Run], None]


def test_a_good_job_costs_three_creations_three_status_writes_and_one_event() -> None:
    run = Run()
    run.submit("flights", nodes=2)
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"
    writes = {verb_kind: n for verb_kind, n in run.operator.writes.items() if verb_kind[1] != "ComputePool"}
    assert writes == {
        ("apply", "Service"): 1,
        ("apply", "NetworkPolicy"): 1,
        ("create", "Job"): 1,
        ("status", "TrainingJob"): 3,
    }
    assert [event.type for name, event in run.operator.events if name == "flights"] == ["Normal"]


def test_planning_again_writes_nothing() -> None:
    run = Run()
    run.submit("flights", nodes=2)
    run.submit("big", nodes=3)
    for _ in range(20):
        run.round()
        run.operator.pass_all()
        run.operator.pass_all()
        before = run.operator.writes.copy()
        run.operator.pass_all()
        assert run.operator.writes == before
        run.clock.advance(1)


def _kill(rank: int) -> Fault:
    return lambda run: run.world.kill(run.pods("flights")[rank])


def _user_error(run: Run) -> None:
    run.world.kill(run.pods("flights")[1], Exit.USER_CODE, message="KeyError: 'dep_tme' in train.py line 42")


FAULTS: dict[str, tuple[Fault, dict[str, Any]]] = {
    "none": (lambda run: None, {"phase": "Succeeded", "attempt": 1, "restarts": 0}),
    "killed": (_kill(1), {"phase": "Succeeded", "attempt": 2, "restarts": 1}),
    "rank 0 killed": (_kill(0), {"phase": "Succeeded", "attempt": 2, "restarts": 1}),
    "evicted": (
        lambda run: run.world.disrupt(run.pods("flights")[0]),
        {"phase": "Succeeded", "attempt": 2, "restarts": 0},
    ),
    "out of memory": (
        lambda run: run.world.kill(run.pods("flights")[0], reason="OOMKilled"),
        {"phase": "Failed", "attempt": 1, "reason": "OutOfMemory"},
    ),
    "user error": (_user_error, {"phase": "Failed", "attempt": 1, "reason": "UserCodeError"}),
}


def _run_with(fault: Fault, dies_after: int | None) -> Run:
    """Run one job with one fault, and an operator that dies before one of its writes."""
    run = Run()
    run.submit("flights", nodes=2)
    run.operator.fuse = Fuse(dies_after)
    faulted = False
    for _ in range(40):
        try:
            run.round()
        except Died:
            run.operator.restart()
        if not faulted and run.status("flights").get("phase") == "Running":
            fault(run)
            faulted = True
        run.clock.advance(1)
    try:
        run.settle()
    except Died:
        run.operator.restart()
        run.settle()
    return run


@pytest.mark.parametrize("name", FAULTS)
def test_a_crash_before_any_write_changes_nothing_about_the_end(name: str) -> None:
    fault, expected = FAULTS[name]
    whole = _run_with(fault, None)
    assert expected.items() <= whole.status("flights").items()
    for write in range(sum(whole.operator.writes.values())):
        run = _run_with(fault, write)
        assert expected.items() <= run.status("flights").items(), f"died before write {write}"
        assert _children(run) == _children(whole), f"died before write {write}"


def _children(run: Run) -> list[tuple[str, str]]:
    return [
        (kind, item["metadata"]["name"])
        for kind in ("Job", "Service", "NetworkPolicy")
        for item in run.world.list(kind)
    ]


_harmless = st.lists(TURNS, min_size=10, max_size=120)
_history = st.lists(st.one_of(TURNS, TURNS, TURNS, TROUBLES, REPLACED), min_size=10, max_size=150)


def _play(turns: list[Turn]) -> Run:
    run = Run(max_nodes=4, minNodes=2)
    for name, shape in SHAPES.items():
        run.submit(name, **shape)
    for turn in turns:
        do(run, turn)
        run.check()
    for machine in ("node-a", "node-b"):
        run.world.heal(machine)
    run.settle()
    return run


@given(_harmless)
@MODERATE
def test_any_order_of_passes_crashes_and_late_events_ends_alike(turns: list[Turn]) -> None:
    run = _play(turns)
    for name in JOBS:
        status = run.status(name)
        assert (status["phase"], status["attempt"], status["restarts"]) == ("Succeeded", 1, 0), name
    assert run.world.get("ComputePool", "", "cpu")["status"]["state"] == "Suspended"


@given(_history)
@MODERATE
def test_whatever_happens_every_job_ends_and_no_node_is_doubled(turns: list[Turn]) -> None:
    run = _play(turns)
    for name in JOBS:
        assert run.status(name)["phase"] == "Succeeded", name
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 0
