"""Preemption in the simulated cluster: real decisions, real ledger, pods that take their time, crashes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.api_server import Json
from tests.support.domain_run import NAMESPACE, Run
from tests.support.operator_sim import Died

RULES = {"queue": {"preemption": "LowerPriority"}}
NAMES = ("low", "other")


def _run() -> Run:
    """Four nodes, held by two jobs of low priority that would run for long."""
    run = Run(max_nodes=4, steps=1000, **RULES)
    for name in NAMES:
        run.submit(name, nodes=2)
        run.until(name, "Running")
    return run


def _take_turns(run: Run, name: str) -> Json:
    return run.until(name, "Running", rounds=120)


def test_a_preempted_job_gives_its_nodes_and_goes_on_afterwards() -> None:
    run = _run()
    run.submit("urgent", nodes=2, priority=5)
    _take_turns(run, "urgent")
    assert run.status("low")["phase"] == "Running", "it came first, so the newer one goes"
    waiting = run.status("other")
    assert (waiting["phase"], waiting["attempt"], waiting["restarts"]) == ("Queued", 1, 0)
    assert "urgent (team-a) holds 2" in waiting["queue"]["message"]
    run.world.steps = 3
    run.settle()
    assert {run.status(name)["phase"] for name in (*NAMES, "urgent")} == {"Succeeded"}
    assert (run.status("other")["attempt"], run.status("other")["restarts"]) == (2, 0)


def _stops(run: Run) -> list[str]:
    """Return who was told to stop for another one, as the statuses that were written say, in order."""
    told: list[str] = []
    for key, plan in run.operator.plans:
        conditions: list[dict[str, Any]] = list((plan.status or {}).get("conditions", ()))
        stops = any(it["type"] == "Stopping" and it["reason"] == "Preempted" for it in conditions)
        if stops and key.name not in told:
            told.append(key.name)
    return told


@settings(max_examples=25)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 4), st.data())
def test_a_crash_at_any_point_neither_loses_nor_doubles_a_node(
    crashes: list[int], nodes: int, data: st.DataObject
) -> None:
    """The operator dies again and again, after any number of writes, and begins anew each time.

    ``Run.check`` looks at every moment that no more pods live than the pool has nodes.
    """
    run = _run()
    run.submit("urgent", nodes=nodes, priority=5)
    for left in crashes:
        run.operator.fuse.left = left
        for _ in range(data.draw(st.integers(1, 4))):
            try:
                run.round()
            except Died:
                break
            run.clock.advance(1)
        run.operator.restart()
        for act in run.world.actors.values():
            act()
            run.check()
    run.operator.fuse.left = None
    _take_turns(run, "urgent")
    assert len(_stops(run)) == (1 if nodes <= 2 else 2), "one round of victims, and no more than needed"
    run.world.steps = 3
    run.settle()
    assert {run.status(name)["phase"] for name in (*NAMES, "urgent")} == {"Succeeded"}
    assert not [pod for name in NAMES for pod in run.pods(name)]
    assert run.world.get("TrainingJob", NAMESPACE, "urgent")["status"]["attempt"] == 1
