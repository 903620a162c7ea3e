"""Stopping a job on purpose, stage by stage and from beginning to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mlpools.contract.ends import Exit
from mlpools_operator.api.v1alpha1 import parse
from mlpools_operator.domain import times
from mlpools_operator.domain.attempt import stopping
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Verdict
from mlpools_operator.domain.queue import admission
from tests.support.api_server import Json, is_terminal
from tests.support.domain_run import Run
from tests.support.domain_values import NOW, a_job, a_job_child, a_pod, ended

KEPT = ("attempt", "restarts", "startTime")


def conditions(status: Json) -> dict[str, tuple[str, str]]:
    return {it["type"]: (it["status"], it["reason"]) for it in status["conditions"]}


def message(status: Json, kind: str) -> str:
    return str(next(it["message"] for it in status["conditions"] if it["type"] == kind))


def living(run: Run) -> list[Json]:
    return [pod for pod in run.world.list("Pod") if not is_terminal(pod)]


def events(run: Run) -> list[tuple[str, str]]:
    return [(event.type, event.reason) for name, event in run.operator.events if name == "flights"]


def training(**changes: Any) -> Run:
    """Return a run whose job trains for long."""
    run = Run(steps=1000)
    run.submit("flights", nodes=2, **changes)
    run.until("flights", "Running")
    return run


def evict(run: Run, name: str, words: str = "its nodes go to urgent (team-b), which has priority 9.") -> None:
    """Have admission take a job's nodes from now on."""

    def decide(pool: Resource, candidates: Sequence[Candidate], *about: Any) -> Decision:
        decision = admission.decide(pool, candidates, *about)
        evicted = {
            candidate.uid: replace(decision.verdicts[candidate.uid], evict=True, message=words)
            for candidate in candidates
            if candidate.name == name and candidate.admitted
        }
        return replace(decision, verdicts={**decision.verdicts, **evicted})

    run.operator.decide = decide


# Suspend.


def test_a_running_job_that_is_suspended_saves_and_rests() -> None:
    run = training()
    run.go(5)
    run.change("flights", suspend=True)
    run.operator.pass_all()
    stopping_now = run.status("flights")
    assert (stopping_now["phase"], stopping_now["reason"]) == ("Running", "Suspended")
    assert conditions(stopping_now)["Stopping"] == ("True", "Suspended")
    assert not any("deletionTimestamp" in pod["metadata"] for pod in living(run))
    run.settle()
    status = run.status("flights")
    assert (status["phase"], status["attempt"], status["restarts"]) == ("Suspended", 1, 0)
    assert conditions(status) == {
        "Admitted": ("False", "Suspended"),
        "Suspended": ("True", "Suspended"),
        "PodsReady": ("False", "Suspended"),
        "Running": ("False", "Suspended"),
        "Ready": ("True", "Accepted"),
    }
    assert status["output"]["checkpointStep"] > 0
    assert status["nodeSeconds"] > 0
    assert living(run) == run.world.list("Job") == []
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 0
    assert events(run) == [("Normal", "Suspended")]


def test_resumed_it_goes_on_as_a_new_attempt_that_is_no_restart() -> None:
    run = training(maxRestarts=0)
    run.change("flights", suspend=True)
    rested = run.until("flights", "Suspended")
    run.clock.advance(1000)
    run.world.steps = 3
    run.change("flights", suspend=False)
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["attempt"], done["restarts"]) == ("Succeeded", 2, 0)
    assert done["startTime"] == rested["startTime"]
    assert rested["nodeSeconds"] < done["nodeSeconds"] < rested["nodeSeconds"] + 1000
    assert "Suspended" not in conditions(done)


def test_a_queued_job_that_is_suspended_leaves_the_queue_and_keeps_its_age() -> None:
    run = Run(max_nodes=2, steps=200)
    for name in ("holder", "head", "second", "third"):
        run.submit(name, nodes=2)
        run.go(2)

    def places() -> tuple[int, ...]:
        queues = (run.status(name).get("queue", {}) for name in ("head", "second", "third"))
        return tuple(queue.get("position", 0) for queue in queues)

    assert places() == (1, 2, 3)
    run.change("second", suspend=True)
    run.go(35)  # places are rewritten every 30 s
    assert (run.status("second")["phase"], places()) == ("Suspended", (1, 0, 2))
    run.change("second", suspend=False)
    run.go(35)
    assert places() == (1, 2, 3)
    run.world.steps = 3
    run.settle()
    assert run.status("second")["completionTime"] < run.status("third")["completionTime"]


def test_a_job_that_comes_suspended_never_starts_and_its_mistakes_are_told() -> None:
    run = Run()
    run.submit("later", suspend=True)
    run.submit("wrong", suspend=True, **{"xgboost.params.max_dept": 3})
    run.settle()
    assert (run.status("later")["phase"], run.status("later")["attempt"]) == ("Suspended", 0)
    assert run.status("wrong")["reason"] == "BadHyperParameter"
    assert run.world.list("Job") == []
    run.change("later", suspend=False)
    run.settle()
    assert run.status("later")["phase"] == "Succeeded"


def test_a_back_off_goes_on_while_a_job_rests() -> None:
    run = training()
    run.world.kill(run.pods("flights")[1])
    waiting = run.until("flights", "Restarting")
    run.change("flights", suspend=True)
    assert run.until("flights", "Suspended")["notBefore"] == waiting["notBefore"]
    run.change("flights", suspend=False)
    run.until("flights", "Starting")
    assert run.clock() >= times.seconds(waiting["notBefore"])


def test_who_resumes_while_it_stops_gets_a_new_attempt() -> None:
    run = training()
    run.change("flights", suspend=True)
    run.operator.pass_all()
    run.change("flights", suspend=False)
    run.world.steps = 3
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["attempt"], done["restarts"]) == ("Succeeded", 2, 0)
    assert ("Normal", "Resumed") in events(run)


def test_a_job_that_finishes_while_it_stops_has_succeeded() -> None:
    run = training()
    run.change("flights", suspend=True)
    run.operator.pass_all()
    for pod in reversed(run.pods("flights")):
        run.world.kill(pod, Exit.DONE)
    run.settle()
    assert run.status("flights")["phase"] == "Succeeded"


def test_a_lost_machine_does_not_keep_a_job_from_resting_but_its_node_stays_held() -> None:
    run = training()
    lost = str(run.pods("flights")[0]["spec"]["nodeName"])
    run.world.lose(lost)
    run.change("flights", suspend=True)
    run.until("flights", "Suspended", rounds=20)
    run.go(3)
    held = len(living(run))
    assert held == 1
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == held


# Cancel.


@pytest.mark.parametrize("phase", ["Starting", "Running", "Restarting", "Queued", "Suspended"])
def test_a_job_can_be_cancelled_at_every_stage(phase: str) -> None:
    run = Run(max_nodes=2, steps=1000)
    run.submit("holder", nodes=2) if phase == "Queued" else None
    run.go(2)
    run.submit("flights", nodes=2)
    if phase == "Restarting":
        run.until("flights", "Running")
        run.world.kill(run.pods("flights")[1])
    if phase == "Suspended":
        run.change("flights", suspend=True)
    run.until("flights", phase)
    run.change("flights", cancel=True)
    status = run.until("flights", "Cancelled")
    run.go(3)
    assert run.status("flights") == status
    assert run.pods("flights") == []
    told = conditions(status)
    assert (told["Failed"], told["Ready"]) == (("True", "Cancelled"), ("True", "Cancelled"))
    assert not {"Stalled", "Complete", "Stopping", "Suspended"} & told.keys()
    assert (status["reason"], "completionTime" in status) == ("Cancelled", True)
    assert events(run).count(("Normal", "Cancelled")) == 1


@pytest.mark.parametrize("instead", [{}, {"suspend": True}])
def test_cancelled_is_for_good_though_somebody_takes_it_back(instead: dict[str, Any]) -> None:
    run = training()
    run.change("flights", cancel=True)
    run.operator.pass_all()
    run.change("flights", cancel=False, **instead)
    run.settle()
    assert run.status("flights")["phase"] == "Cancelled"


def test_cancelled_while_it_is_being_suspended_it_is_cancelled() -> None:
    run = training()
    run.change("flights", suspend=True)
    run.operator.pass_all()
    run.change("flights", cancel=True)
    run.settle()
    assert run.status("flights")["phase"] == "Cancelled"
    assert run.status("flights")["output"]["checkpointStep"] > 0


# Preemption by the queue.


def test_an_evicted_job_gives_its_nodes_back_and_queues_at_once() -> None:
    run = training(maxRestarts=0)
    before = run.status("flights")
    evict(run, "flights")
    status = run.until("flights", "Queued")
    assert (status["reason"], status["restarts"]) == ("Preempted", 0)
    assert "urgent (team-b)" in message(status, "Admitted")
    assert "notBefore" not in status
    assert status["output"]["checkpointStep"] > 0
    assert {key: status[key] for key in KEPT} == {key: before[key] for key in KEPT}
    assert run.pods("flights") == []
    assert events(run) == [("Normal", "Preempted")]
    run.operator.decide = admission.decide
    run.world.steps = 3
    run.settle()
    done = run.status("flights")
    assert (done["phase"], done["attempt"], done["restarts"]) == ("Succeeded", 2, 0)


def test_its_nodes_count_as_held_until_its_pods_are_gone() -> None:
    run = training()
    evict(run, "flights")
    for _ in range(2):
        run.operator.pass_all()
    assert all("deletionTimestamp" in pod["metadata"] for pod in living(run)) or run.world.list("Job") == []
    (candidate,) = run.operator.ledger.candidates("cpu")
    assert (candidate.admitted, candidate.held, candidate.stopping) == (True, 2, True)


# The deadline.


def test_time_with_nodes_is_limited_over_all_attempts() -> None:
    run = training(activeDeadlineSeconds=300)
    run.go(3)
    run.change("flights", suspend=True)
    rested = run.until("flights", "Suspended")
    run.clock.advance(10_000)
    run.change("flights", suspend=False)
    run.until("flights", "Running")
    run.settle()
    status = run.status("flights")
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert conditions(status)["Stalled"] == ("True", "DeadlineExceeded")
    assert rested["nodeSeconds"] < 600 <= status["nodeSeconds"] <= 2 * 305
    assert living(run) == []
    assert events(run)[-1] == ("Warning", "DeadlineExceeded")


def test_a_deadline_that_is_shortened_ends_a_job_that_waits() -> None:
    run = training()
    run.go(30)
    run.change("flights", suspend=True)
    run.until("flights", "Suspended")
    run.change("flights", activeDeadlineSeconds=10)
    assert run.until("flights", "Failed")["reason"] == "DeadlineExceeded"


def test_the_next_look_is_due_at_the_deadline() -> None:
    run = training(activeDeadlineSeconds=300)
    due = run.operator.pass_all()
    assert due is not None
    assert 290 < due <= 300


# The rules by themselves.


def test_a_pod_that_was_not_heard_of_keeps_its_node_while_its_job_is_stopped() -> None:
    run = Run(max_nodes=4, steps=1000)
    run.submit("one", nodes=4)
    run.operator.pass_all()  # admits
    run.operator.pass_all()  # makes the Job
    run.world.actors["job-controller"]()
    run.world.actors["scheduler"]()
    run.world.actors["kubelets"]()
    assert len(living(run)) == 4
    run.change("one", suspend=True)
    run.submit("two", nodes=4)
    for _ in range(20):  # news of Jobs and TrainingJobs come, those of pods do not
        for kind in ("TrainingJob", "Job"):
            run.operator.hear(kind)
        run.operator.pass_pool("cpu")
        for key in run.operator.keys("TrainingJob"):
            run.operator.pass_job(key)
        run.world.actors["job-controller"]()
        run.world.actors["scheduler"]()
        run.check()
        run.clock.advance(1)
    assert run.status("two")["phase"] == "Queued"
    run.go(5)
    assert run.status("one")["phase"] == "Suspended"


def test_two_jobs_never_hold_a_stopping_jobs_nodes_together() -> None:
    run = Run(max_nodes=4, steps=1000)
    run.submit("one", nodes=4)
    run.until("one", "Running")
    run.submit("two", nodes=4)
    run.change("one", suspend=True)
    for _ in range(20):  # the garbage collector works, no kubelet does
        run.operator.pass_all()
        for name in ("job-controller", "scheduler", "garbage-collector"):
            run.world.actors[name]()
            run.check()
        run.clock.advance(1)
    assert run.status("two")["phase"] == "Queued"
    run.go(5)
    assert (run.status("one")["phase"], run.status("two")["phase"]) == ("Suspended", "Running")


def test_a_job_is_not_deleted_while_pods_may_exist_that_nobody_knows() -> None:
    job = a_job_child(nodes=2)
    assert not stopping.may_be_deleted(job, (a_pod(0),), NOW + 59)
    assert stopping.may_be_deleted(job, (a_pod(0),), NOW + 60)
    assert stopping.may_be_deleted(job, (a_pod(0), a_pod(1)), NOW)
    assert stopping.may_be_deleted(replace(job, ended="Failed"), (), NOW)


def test_a_stop_is_over_when_the_pods_are() -> None:
    over = {"stopped_for": 5.0, "grace": 60.0}
    assert not stopping.is_over(a_job_child(), (ended(0, Exit.PREEMPTED),), **over)
    assert not stopping.is_over(None, (a_pod(0),), **over)
    assert stopping.is_over(None, (ended(0, Exit.PREEMPTED),), **over)
    assert stopping.is_over(None, (a_pod(0, disruption="DeletionByTaintManager"),), **over)
    assert stopping.is_over(None, (a_pod(0),), stopped_for=90.0, grace=60.0)


def test_the_gravest_demand_counts() -> None:
    def reason(held: float, verdict: Verdict | None, **changes: Any) -> str:
        found = stopping.demand(parse("TrainingJob", a_job(**changes).spec), held, verdict)
        return found.reason if found else ""

    evicted = Verdict(True, evict=True, message="…")
    both = {"suspend": True, "activeDeadlineSeconds": 10}
    assert reason(10, evicted, **both, cancel=True) == "Cancelled"
    assert reason(10, evicted, **both) == "DeadlineExceeded"
    assert reason(9, evicted, **both) == "Suspended"
    assert reason(9, evicted) == "Preempted"
    assert reason(9, Verdict(True)) == reason(9, None) == ""
