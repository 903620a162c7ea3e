"""What is counted: each change of a status once, whoever makes the pass and however often."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.controller import read
from mlpools_operator.domain.job import transitions
from mlpools_operator.domain.job.transitions import (
    Admitted,
    Finished,
    Preempted,
    Restarted,
    Spent,
    Switched,
    Transition,
)
from mlpools_operator.domain.observed import Resource
from tests.support.domain_run import NAMESPACE, Run
from tests.support.histories import FAULTS, MODERATE, SHAPES, TURNS, Turn, do


def told(run: Run, name: str) -> list[Transition]:
    uid = run.world.get("TrainingJob", NAMESPACE, name)["metadata"]["uid"]
    return [transition for owner, transition in run.operator.told if owner == uid]


def untimed(transition: Transition) -> Transition:
    return replace(transition, seconds=0) if isinstance(transition, Spent) else transition


def words(run: Run, name: str) -> list[Any]:
    return [untimed(transition) for transition in told(run, name)]


GOOD = [
    Spent("Queued", 0),
    Admitted(),
    Spent("Starting", 0),
    Spent("Running", 0),
    Finished("Succeeded", "Succeeded"),
]


def test_a_good_job() -> None:
    run = Run(steps=20)
    run.submit("flights", nodes=2)
    run.settle()
    assert words(run, "flights") == GOOD
    spent = {it.stage: it.seconds for it in told(run, "flights") if isinstance(it, Spent)}
    assert spent["Queued"] <= 2
    assert spent["Running"] >= 20


def test_a_job_that_is_restarted() -> None:
    run = Run(steps=20)
    run.submit("flights", nodes=2, maxRestarts=3)
    run.until("flights", "Running")
    run.world.kill(run.pods("flights")[1], 137, "Error")
    run.settle()
    reason = run.status("flights")["nodes"]["failed"][0]["reason"]
    assert words(run, "flights") == [*GOOD[:4], Restarted(reason), *GOOD]


def test_a_job_that_cannot_be_helped() -> None:
    run = Run(steps=20)
    run.submit("flights", nodes=1)
    run.until("flights", "Running")
    run.world.kill(run.pods("flights")[0], 137, "OOMKilled")
    run.settle()
    assert words(run, "flights") == [*GOOD[:4], Finished("Failed", "OutOfMemory")]


def test_the_wait_of_one_that_rests_or_gives_up_does_not_count() -> None:
    run = Run()
    run.submit("later", suspend=True)
    run.go(1)
    run.clock.advance(100_000)
    run.change("later", suspend=False)
    run.settle()
    assert words(run, "later") == GOOD
    (queued,) = [it.seconds for it in told(run, "later") if isinstance(it, Spent) and it.stage == "Queued"]
    assert queued < 100, "it asked for nodes for so long, and rested before"
    run.submit("never", suspend=True)
    run.go(1)
    run.change("never", cancel=True)
    run.settle()
    assert words(run, "never") == [Finished("Cancelled", "Cancelled")]


def test_a_suspended_attempt_is_no_restart() -> None:
    run = Run(steps=20)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    run.change("flights", suspend=True)
    run.until("flights", "Suspended")
    assert words(run, "flights") == GOOD[:4]
    run.clock.advance(50)
    run.change("flights", suspend=False)
    run.settle()
    assert words(run, "flights") == [*GOOD[:4], *GOOD]


def test_a_job_that_gives_way() -> None:
    run = Run(steps=400, queue={"preemption": "LowerPriority"})
    run.submit("low", nodes=4)
    run.until("low", "Running")
    run.submit("high", nodes=4, priority=10)
    run.until("high", "Running")
    assert words(run, "low") == [*GOOD[:3], Preempted(), Spent("Running", 0), Restarted("Preempted")]


def test_a_pool_that_sleeps_and_wakes() -> None:
    run = Run(initiallySuspended=True)
    run.go(3)
    run.submit("flights")
    run.settle()
    pools = [it for _, it in run.operator.told if isinstance(it, Switched)]
    assert pools[:2] == [Switched(True), Switched(False)]


def test_since_when_a_job_waits() -> None:
    run = Run(max_nodes=1, steps=400)
    run.submit("first", nodes=1)
    run.go(3)
    run.submit("second", nodes=1)
    created = run.clock()
    run.go(30)
    second = read.entry("TrainingJob", run.world.get("TrainingJob", NAMESPACE, "second"))
    assert isinstance(second, Resource)
    assert transitions.waiting_since(second) == pytest.approx(created, abs=1)


@MODERATE
@given(st.lists(st.one_of(TURNS, FAULTS), max_size=60))
def test_whatever_happens_each_change_is_counted_once(turns: list[Turn]) -> None:
    run = Run()
    for name, shape in SHAPES.items():
        run.submit(name, **shape)
    for turn in turns:
        do(run, turn)
    run.world.heal("node-a")
    run.world.heal("node-b")
    run.settle()
    for name in SHAPES:
        status, counted = run.status(name), Counter(type(it) for it in told(run, name))
        assert counted[Admitted] == status["attempt"]
        assert counted[Finished] == 1
        assert counted[Restarted] == status["attempt"] - 1, "each attempt but the last is followed by another"
        stages = Counter(it.stage for it in told(run, name) if isinstance(it, Spent))
        assert stages["Queued"] == stages["Starting"] == counted[Admitted]
        assert stages["Running"] <= counted[Admitted]
        job = read.entry("TrainingJob", run.world.get("TrainingJob", NAMESPACE, name))
        assert isinstance(job, Resource)
        assert transitions.of_job(job, job.status, run.clock()) == (), "the same again tells nothing"
    before = list(run.operator.told)
    run.operator.restart()
    run.go(3)
    assert run.operator.told == before, "a pass that is made again counts nothing"
