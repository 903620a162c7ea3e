"""A pool's ``stopAll``: what started before a moment is cancelled, once, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlpools_operator.domain import times
from mlpools_operator.domain.pool import life
from tests.support.api_server import is_terminal
from tests.support.domain_run import Run
from tests.support.domain_values import NOW, a_pool
from tests.support.manifests import spec


def change(run: Run, **changes: Any) -> None:
    run.world.replace_spec("ComputePool", "", "cpu", spec("ComputePool", changes))


def test_only_what_started_before_a_moment_that_has_come_is_stopped() -> None:
    pool = a_pool(stopAll=times.stamp(NOW))
    assert life.stopped_by(pool, NOW - 1, NOW)
    assert not life.stopped_by(pool, NOW - 1, NOW - 0.5), "it has not come"
    assert not life.stopped_by(pool, NOW, NOW + 5), "it started then"
    assert not life.stopped_by(pool, 0, NOW), "it has not started"
    assert not life.stopped_by(a_pool(), NOW - 1, NOW)
    assert not life.stopped_by(None, NOW - 1, NOW)
    broken = replace(pool, spec={"stopAll": times.stamp(NOW)})
    assert life.stopped_by(broken, NOW - 1, NOW), "an unusable pool still stops what runs"
    assert not life.stopped_by(replace(pool, spec={"stopAll": "soon"}), NOW - 1, NOW)


def test_all_that_started_is_cancelled_and_what_waits_runs() -> None:
    run = Run(max_nodes=4, steps=1000)
    run.submit("one", nodes=2)
    run.submit("two", nodes=2)
    run.until("two", "Running")
    run.submit("three", nodes=4)
    run.go(3)
    moment = times.stamp(run.clock() + 1)
    change(run, stopAll=moment)
    for name in ("one", "two"):
        ended = run.until(name, "Cancelled", rounds=120)
        assert ended["reason"] == "Cancelled"
        words = next(it["message"] for it in ended["conditions"] if it["type"] == "Failed")
        assert f"stopAll ends all jobs started before {moment}" in words
    run.until("three", "Running")
    run.go(30)
    assert run.status("three")["attempt"] == 1, "the moment is over: it cancels once"


def test_a_moment_to_come_is_waited_for_over_a_restart() -> None:
    run = Run(steps=1000)
    run.submit("flights", nodes=2)
    run.until("flights", "Running")
    moment = run.clock() + 30
    change(run, stopAll=times.stamp(moment))
    assert 25 < (run.round() or 0) <= 30, "nothing but time will wake it"
    run.go(20)
    assert run.status("flights")["phase"] == "Running"
    run.operator.restart()
    run.until("flights", "Cancelled", rounds=120)
    assert run.clock() >= moment
    run.go(5)
    assert all(is_terminal(pod) for pod in run.world.list("Pod"))


def test_a_job_between_two_attempts_or_suspended_is_cancelled_too() -> None:
    run = Run(steps=1000)
    for name in ("restarts", "rests"):
        run.submit(name, nodes=1, restartBackoffSeconds=100)
    run.until("rests", "Running")
    run.until("restarts", "Running")
    run.world.replace_spec("TrainingJob", "team-a", "rests", {**_job(run, "rests"), "suspend": True})
    run.until("rests", "Suspended", rounds=120)
    run.world.kill(run.pods("restarts")[0])
    run.until("restarts", "Restarting")
    change(run, stopAll=times.stamp(run.clock() + 1))
    for name in ("restarts", "rests"):
        run.until(name, "Cancelled")


def _job(run: Run, name: str) -> dict[str, Any]:
    found: dict[str, Any] = run.world.get("TrainingJob", "team-a", name)["spec"]
    return found
