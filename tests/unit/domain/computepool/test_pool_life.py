"""When a pool sleeps and when it wakes, decided in one pass with who is admitted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools_operator.domain import naming, times
from mlpools_operator.domain.pool import life as pool_life
from mlpools_operator.domain.pool.life import Life
from tests.support.api_server import Json
from tests.support.domain_run import Run
from tests.support.domain_values import a_pool
from tests.support.manifests import spec
from tests.support.operator_sim import WATCHED


def pool(run: Run) -> Json:
    status: Json = run.world.get("ComputePool", "", "cpu").get("status", {})
    return status


def change(run: Run, **changes: Any) -> None:
    run.world.replace_spec("ComputePool", "", "cpu", spec("ComputePool", changes))


def ask_to_start(run: Run, when: str) -> None:
    wish = {naming.START_REQUESTED: when}
    run.world.patch("ComputePool", "", "cpu", lambda it: it["metadata"].update(annotations=wish))


def events(run: Run) -> list[str]:
    return [event.reason for name, event in run.operator.events if name == "cpu"]


def condition(status: Json, name: str) -> tuple[str, str]:
    return next(((it["status"], it["reason"]) for it in status["conditions"] if it["type"] == name), ("", ""))


def test_a_pool_falls_asleep_when_nobody_used_it_for_long_enough_and_a_job_wakes_it() -> None:
    run = Run(autoSuspendSeconds=100)
    run.submit("first")
    run.until("first", "Succeeded")
    run.go(2)
    idle = pool(run)
    assert (idle["state"], idle["jobs"], "suspendedSince" in idle) == ("Idle", 0, False)
    quiet = times.seconds(idle["lastActivityTime"])
    run.go(150)
    asleep = pool(run)
    assert asleep["state"] == "Suspended"
    assert times.seconds(asleep["suspendedSince"]) - quiet in (100, 101)
    assert condition(asleep, "Ready") == ("True", "Suspended")
    assert condition(asleep, "Suspended") == ("True", "SuspendedWhenIdle")

    run.submit("second")
    run.operator.pass_all()
    run.operator.pass_all()
    assert "suspendedSince" not in pool(run)
    assert run.status("second")["phase"] in ("Queued", "Starting")
    run.until("second", "Succeeded")
    assert condition(pool(run), "Ready") == ("True", "Accepted")
    assert events(run) == ["Suspended", "Resumed"]


def test_who_wakes_a_pool_is_told_so_before_it_is_admitted() -> None:
    run = Run(initiallySuspended=True)
    run.go(2)
    assert (pool(run)["state"], condition(pool(run), "Suspended")[1]) == ("Suspended", "InitiallySuspended")
    run.submit("flights")
    run.operator.pass_all()
    told = run.status("flights")
    assert (told["phase"], told["reason"]) == ("Queued", "PoolResuming")
    assert pool(run)["state"] == "Starting"
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"


BY_HAND = "the annotation mlpools.dev/start-requested-at with a later time"


@pytest.mark.parametrize(
    ("life", "words"),
    [
        (
            Life("SuspendedWhenIdle", 0.0, by_job=True),
            "Pool cpu fell asleep at 1970-01-01T00:00:00Z, as nobody used it. The next job wakes it, and so "
            f"does {BY_HAND}.",
        ),
        (
            Life("InitiallySuspended", 0.0, by_job=False),
            "Pool cpu has slept since it was made (1970-01-01T00:00:00Z). Its autoResume is false, so jobs "
            f"wait until {BY_HAND} wakes it.",
        ),
        (
            Life("SuspendedByAdministrator", 0.0, by_job=True),
            "Pool cpu has been suspended by its administrator since 1970-01-01T00:00:00Z: jobs that run "
            "finish, others wait until its field suspend is false.",
        ),
    ],
)
def test_whoever_reads_of_a_pool_that_sleeps_learns_why_and_what_wakes_it(life: Life, words: str) -> None:
    assert pool_life.suspended(life, "cpu") == words


def test_a_job_that_was_there_first_keeps_a_new_pool_awake() -> None:
    run = Run(initiallySuspended=True)
    run.submit("flights")
    run.until("flights", "Succeeded")
    assert events(run) == []


def test_without_auto_resume_a_wish_later_than_the_suspension_wakes_the_pool() -> None:
    run = Run(initiallySuspended=True, autoResume=False)
    run.submit("flights")
    ask_to_start(run, times.stamp(run.clock() - 60))
    run.go(20)
    waiting = run.status("flights")
    assert (waiting["phase"], waiting["reason"]) == ("Queued", "PoolSuspended")
    assert waiting["queue"]["message"].endswith(f"so jobs wait until {BY_HAND} wakes it.")
    assert (pool(run)["state"], pool(run)["queued"]) == ("Suspended", 1)
    ask_to_start(run, "soon")  # no time at all
    run.go(5)
    assert pool(run)["state"] == "Suspended"
    ask_to_start(run, times.stamp(run.clock() + 10))  # a clock that is ahead
    run.go(8)
    assert pool(run)["state"] == "Suspended"
    run.until("flights", "Succeeded")


def test_an_administrators_hold_lets_jobs_finish_and_nobody_in_until_it_is_lifted() -> None:
    run = Run(steps=1000, autoSuspendSeconds=50)
    run.submit("first", nodes=2)
    run.until("first", "Running")
    change(run, suspend=True, autoSuspendSeconds=50)
    run.submit("second")
    run.go(100)
    held = pool(run)
    assert (held["state"], held["jobs"], held["queued"]) == ("Stopping", 1, 1)
    assert (run.status("first")["phase"], run.status("first")["attempt"]) == ("Running", 1)
    assert run.status("second")["reason"] == "PoolSuspended"
    run.world.steps = 3
    run.until("first", "Succeeded")
    ask_to_start(run, times.stamp(run.clock() + 1))
    run.go(20)
    assert pool(run)["state"] == "Suspended"
    assert run.status("second")["phase"] == "Queued"
    change(run, suspend=False, autoSuspendSeconds=50)
    run.until("second", "Succeeded")


def test_a_restarted_attempt_waits_for_the_hold_too() -> None:
    run = Run(steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    change(run, suspend=True)
    run.go(2)
    run.world.kill(run.pods("flights")[0])
    run.go(60)
    assert (run.status("flights")["phase"], run.status("flights")["reason"]) == ("Queued", "PoolSuspended")
    assert pool(run)["state"] == "Suspended"


def test_a_job_that_the_pool_does_not_take_neither_wakes_it_nor_keeps_it_awake() -> None:
    run = Run(autoSuspendSeconds=50, namespaces={"matchLabels": {"team": "b"}})
    run.go(10)
    run.submit("stranger")
    run.go(60)
    assert run.status("stranger")["reason"] == "PoolNotAllowed"
    assert (pool(run)["state"], pool(run)["queued"]) == ("Suspended", 0)
    run.go(60)
    assert events(run) == ["Suspended"]


def test_a_job_that_ran_for_longer_than_that_leaves_the_pool_awake_for_as_long() -> None:
    run = Run(steps=1000, autoSuspendSeconds=50)
    run.submit("flights")
    run.until("flights", "Running")
    run.go(100)
    run.world.steps = 3
    run.until("flights", "Succeeded")
    run.go(45)
    assert pool(run)["state"] == "Idle"
    run.go(10)
    assert pool(run)["state"] == "Suspended"


def test_zero_means_never() -> None:
    run = Run(autoSuspendSeconds=0)
    run.settle()
    assert pool(run)["state"] == "Idle"


def test_the_time_goes_on_over_a_restart_of_the_operator() -> None:
    run = Run(autoSuspendSeconds=100)
    run.go(60)
    run.operator.restart()
    run.go(60)
    assert pool(run)["state"] == "Suspended"
    since = pool(run)["suspendedSince"]
    run.operator.restart()
    run.go(10)
    assert pool(run)["suspendedSince"] == since


def test_a_spec_that_is_wrong_for_a_while_does_not_wake_a_pool() -> None:
    run = Run(initiallySuspended=True)
    run.go(2)
    run.world.replace_spec("ComputePool", "", "cpu", {"maxNodes": 4})
    run.go(2)
    assert condition(pool(run), "Ready") == ("False", "InvalidSpec")
    change(run, initiallySuspended=True)
    run.go(2)
    assert (pool(run)["state"], condition(pool(run), "Suspended")[1]) == ("Suspended", "InitiallySuspended")


@pytest.mark.parametrize(
    ("life", "numbers", "word"),
    [
        (Life("SuspendedWhenIdle"), {"held": 0, "warm": 0, "wanted": 0, "ready": 0}, "Suspended"),
        (Life("SuspendedByAdministrator"), {"held": 2, "warm": 0, "wanted": 2, "ready": 2}, "Stopping"),
        (Life("SuspendedWhenIdle"), {"held": 0, "warm": 1, "wanted": 0, "ready": 1}, "Stopping"),
        (Life(waking=True), {"held": 0, "warm": 0, "wanted": 0, "ready": 0}, "Starting"),
        (Life(), {"held": 2, "warm": 0, "wanted": 2, "ready": 0}, "Starting"),
        (Life(), {"held": 2, "warm": 0, "wanted": 2, "ready": 1}, "Resizing"),
        (Life(), {"held": 2, "warm": 1, "wanted": 2, "ready": 3}, "Resizing"),
        (Life(), {"held": 2, "warm": 1, "wanted": 3, "ready": 3}, "Active"),
        (Life(), {"held": 0, "warm": 1, "wanted": 1, "ready": 1}, "Idle"),
        (Life(), {"held": 0, "warm": 0, "wanted": 0, "ready": 0}, "Idle"),
    ],
)
def test_one_word_says_what_a_pool_does(life: Life, numbers: dict[str, int], word: str) -> None:
    assert pool_life.state(life, **numbers) == word


def test_a_wish_is_a_time_or_nothing() -> None:
    wishes = {"2026-11-22T10:00:00Z": 1_795_341_600.0, "now": 0.0}
    for text, seconds in wishes.items():
        asked = a_pool()
        meta = replace(asked.meta, annotations={naming.START_REQUESTED: text})
        assert pool_life.start_requested(replace(asked, meta=meta)) == seconds
    assert pool_life.start_requested(a_pool()) == 0.0


_turns = st.lists(
    st.one_of(
        st.sampled_from(WATCHED).map(lambda kind: ("hear", kind)),
        st.sampled_from(("job-controller", "scheduler", "kubelets")).map(lambda name: ("act", name)),
        st.sampled_from((("pool", ""), ("job", ""), ("restart", ""))),
        st.sampled_from((1, 5, 20)).map(lambda seconds: ("wait", seconds)),
    ),
    max_size=30,
)


@given(before=st.integers(25, 35), turns=_turns, resume=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_job_that_comes_at_any_moment_round_the_suspension_is_not_stuck(
    before: int, turns: list[tuple[str, Any]], resume: bool
) -> None:
    """With autoResume it runs; without, it runs unless it came after the pool was asleep."""
    run = Run(autoSuspendSeconds=30, autoResume=resume)
    run.go(before)
    run.submit("flights", nodes=2)
    for what, which in turns:
        awake = "suspendedSince" not in pool(run)
        _turn(run, what, which)
        if awake and "suspendedSince" in pool(run) and run.status("flights").get("phase") != "Succeeded":
            assert run.operator.keys("TrainingJob") == [], "it fell asleep over a job that waits"
    run.operator.hear(*WATCHED)
    late = "suspendedSince" in pool(run) and run.status("flights").get("phase") != "Succeeded"
    run.go(40)
    expected = ("Queued", "PoolSuspended") if late and not resume else ("Succeeded", "")
    assert (run.status("flights")["phase"], run.status("flights")["reason"]) == expected


def _turn(run: Run, what: str, which: Any) -> None:
    if what == "hear":
        run.operator.hear(which)
    elif what == "act":
        run.world.actors[which]()
    elif what == "wait":
        run.operator.wait(which)
    elif what == "restart":
        run.operator.restart()
    elif what == "pool":
        run.operator.pass_pool("cpu")
    else:
        for key in run.operator.keys("TrainingJob"):
            run.operator.pass_job(key)
