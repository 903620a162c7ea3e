"""What `kubectl describe` tells of a job's life: each change once, however often anybody looks."""

from __future__ import annotations

import pytest

from tests.support.domain_run import NAMESPACE, Run


def look(run: Run) -> None:
    """Look at everything again and again while nothing happens, also as operators that know nothing yet."""
    for _ in range(3):
        run.operator.pass_all()
        run.operator.restart()
        run.operator.pass_all()


def reach(run: Run, name: str, phase: str) -> None:
    run.until(name, phase)
    look(run)


def events(run: Run, name: str) -> list[tuple[str, str]]:
    return [(event.type, event.reason) for about, event in run.operator.events if about == name]


def test_a_whole_life() -> None:
    run = Run(steps=400, queue={"preemption": "LowerPriority"})
    run.submit("holder", nodes=4)
    reach(run, "holder", "Running")
    run.submit("flights", nodes=3, maxRestarts=3)
    reach(run, "flights", "Queued")
    assert events(run, "flights") == [], "that it waits stands in its status"
    run.change("holder", cancel=True)
    reach(run, "flights", "Starting")
    reach(run, "flights", "Running")
    assert events(run, "flights") == [], "good news are in the status"
    run.world.kill(run.pods("flights")[1])
    reach(run, "flights", "Restarting")
    reach(run, "flights", "Running")
    run.change("flights", suspend=True)
    reach(run, "flights", "Suspended")
    run.change("flights", priority=1)
    look(run)
    assert run.status("flights")["observedGeneration"] == 3, "a status that is written anew"
    run.change("flights", suspend=False)
    reach(run, "flights", "Running")
    run.clock.advance(600)  # one that has just begun is spared
    run.submit("urgent", nodes=4, priority=9)
    reach(run, "flights", "Queued")
    run.change("urgent", cancel=True)
    reach(run, "flights", "Running")
    run.settle(rounds=2000)
    look(run)
    assert events(run, "flights") == [
        ("Warning", "WorkerCrashed"),
        ("Normal", "Suspended"),
        ("Normal", "Resumed"),
        ("Normal", "Preempted"),
        ("Normal", "Complete"),
    ]
    assert events(run, "holder") == events(run, "urgent") == [("Normal", "Cancelled")]


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [(0, "", "Complete"), (137, "OOMKilled", "OutOfMemory")],
)
def test_the_end_is_told_once(code: int, reason: str, told: str) -> None:
    run = Run(steps=400)
    run.submit("flights", nodes=1)
    reach(run, "flights", "Running")
    run.world.kill(run.pods("flights")[0], code, reason)
    run.settle()
    look(run)
    assert [word for _, word in events(run, "flights")] == [told]
    assert run.world.get("TrainingJob", NAMESPACE, "flights")["status"]["completionTime"]
