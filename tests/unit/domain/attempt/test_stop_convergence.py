"""Jobs that are stopped in any way at any moment end as they were asked to."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain import naming
from tests.support.api_server import condition, is_terminal
from tests.support.domain_run import Run
from tests.support.histories import FAULTS, JOBS, MODERATE, SHAPES, TURNS, Turn, do
from tests.support.operator_sim import Died, Fuse
from tests.unit.domain.attempt.test_stopping import evict

#: A machine kills what was deleted within a pod's grace period; beyond that, the operator waits no longer.
GRACE = 60.0

WISHES: dict[str, dict[str, Any]] = {
    "suspend": {"suspend": True},
    "resume": {"suspend": False},
    "cancel": {"cancel": True},
    "deadline": {"activeDeadlineSeconds": 1},
    "urgent": {"priority": 9},
}

_wishes = st.tuples(st.sampled_from((*WISHES, "suspend", "resume", "evict", "relent")), st.sampled_from(JOBS))
#: Everybody once, in order: without it few histories would get far.
_round = st.just(("round",))
_calm = st.lists(st.one_of(TURNS, TURNS, _round, _wishes), min_size=10, max_size=120)
_wild = st.lists(st.one_of(TURNS, TURNS, _round, _wishes, FAULTS), min_size=10, max_size=150)


class Watch:
    """Checks after each turn that no job has two attempts that live, as far as machines do their part."""

    def __init__(self, run: Run) -> None:
        self.run, self.killed = run, run.clock()

    def check(self, turn: Turn) -> None:
        if turn in (("act", "kubelets"), ("round",)):
            self.killed = self.run.clock()
        if self.run.clock() - self.killed > GRACE or self.run.world.down:
            return
        for name in JOBS:
            attempts = {
                pod["metadata"]["labels"][naming.ATTEMPT]
                for pod in self.run.pods(name)
                if not is_terminal(pod)
            }
            assert len(attempts) <= 1, f"{name} has attempts {attempts}"


def play(turns: list[Turn]) -> Run:
    run = Run(max_nodes=4)
    watch = Watch(run)
    for name, shape in SHAPES.items():
        run.submit(name, **shape)
    for turn in turns:
        if turn[0] == "round":
            run.go(1)
        elif turn[0] == "evict":
            evict(run, turn[1])
        elif turn[0] == "relent":
            evict(run, "")
        elif turn[0] in WISHES:
            run.change(turn[1], **WISHES[turn[0]])
        else:
            do(run, turn)
        run.check()
        watch.check(turn)
    for machine in ("node-a", "node-b"):
        run.world.heal(machine)
    evict(run, "")
    run.settle()
    return run


def is_as_asked(run: Run, name: str) -> None:
    """Check that a job ended, or rests, as its spec asks; what was done before it was asked counts too."""
    job = run.world.get("TrainingJob", "team-a", name)
    status, spec = job["status"], job["spec"]
    if condition(job, "Complete"):
        assert status["phase"] == "Succeeded"
    elif spec.get("cancel"):
        assert status["phase"] in ("Cancelled", "Failed")
    elif spec.get("suspend") and status["phase"] != "Failed":
        assert status["phase"] == "Suspended"
    else:
        assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
        assert spec["activeDeadlineSeconds"] == 1
    assert not condition(job, "Stopping")


@given(_calm)
@MODERATE
def test_whatever_is_asked_and_when_it_is_done_once_and_no_node_is_doubled(
    turns: list[Turn],
) -> None:
    run = play(turns)
    for name in JOBS:
        is_as_asked(run, name)
        assert run.status(name)["restarts"] == 0
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 0


@given(_wild)
@MODERATE
def test_nor_do_failures_and_lost_machines_change_that(turns: list[Turn]) -> None:
    run = play(turns)
    for name in JOBS:
        is_as_asked(run, name)
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 0


Story = Callable[[Run], None]


def _suspend_and_resume(run: Run) -> None:
    run.change("flights", suspend=True)
    settle(run, lambda: run.status("flights")["phase"] == "Suspended")
    run.change("flights", suspend=False)


def _cancel(run: Run) -> None:
    run.change("flights", cancel=True)


def _evict(run: Run) -> None:
    evict(run, "flights")
    settle(run, lambda: run.status("flights")["attempt"] == 1 and run.status("flights")["phase"] == "Queued")
    evict(run, "")


STORIES: dict[str, tuple[Story, dict[str, Any]]] = {
    "suspend": (_suspend_and_resume, {"phase": "Succeeded", "attempt": 2, "restarts": 0}),
    "cancel": (_cancel, {"phase": "Cancelled", "attempt": 1, "restarts": 0}),
    "evict": (_evict, {"phase": "Succeeded", "attempt": 2, "restarts": 0}),
}


def settle(run: Run, there: Callable[[], bool], rounds: int = 60) -> None:
    """Go on until something holds, with a new operator whenever one dies."""
    for _ in range(rounds):
        if there():
            return
        try:
            run.round()
        except Died:
            run.operator.restart()
        run.clock.advance(1)
    raise AssertionError(run.status("flights"))


def run_story(story: Story, dies_after: int | None) -> Run:
    run = Run(steps=8)
    run.submit("flights", nodes=2)
    settle(run, lambda: run.status("flights").get("phase") == "Running")
    run.operator.fuse = Fuse(dies_after)
    story(run)
    settle(run, lambda: "completionTime" in run.status("flights"))
    run.operator.fuse = Fuse()
    run.settle()
    return run


@pytest.mark.parametrize("name", STORIES)
def test_a_crash_before_any_write_of_a_stop_changes_nothing_about_the_end(name: str) -> None:
    story, expected = STORIES[name]
    whole = run_story(story, None)
    assert expected.items() <= whole.status("flights").items()
    for write in range(sum(whole.operator.writes.values())):
        run = run_story(story, write)
        assert expected.items() <= run.status("flights").items(), f"died before write {write}"


def test_a_job_that_is_suspended_and_resumed_again_and_again_gets_done() -> None:
    dice = random.Random(7)
    run = Run(steps=3)
    run.submit("flights", nodes=2, maxRestarts=0)
    for turn in range(30):
        run.change("flights", suspend=turn % 2 == 0)
        run.go(dice.randint(0, 4))
    run.change("flights", suspend=False)
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"
