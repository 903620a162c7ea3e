"""A job's plans, stage by stage: what is written, and what a person reads."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools_operator.api.v1alpha1 import TrainingJobStatus
from mlpools_operator.domain import naming, times
from mlpools_operator.domain.observed import Child, JobChild, Meta, PodChild, Resource
from mlpools_operator.domain.plan import Plan
from mlpools_operator.domain.pool.ledger import Verdict
from tests.support import trainingjob
from tests.support.domain_values import NOW, UID, a_job, a_job_child, a_pod, a_pool, ended
from tests.support.operator_sim import DEFAULTS

ADMIT = Verdict(True)


def _observed(**changes: Any) -> trainingjob.Observed:
    return replace(trainingjob.Observed(a_pool(), ADMIT), **changes)


def _plan(job: Resource, now: float = NOW, **observed: Any) -> Plan:
    return trainingjob.plan(job, _observed(**observed), now, DEFAULTS)


def _after(job: Resource, plan: Plan) -> Resource:
    assert plan.status is not None
    return replace(job, status=json.loads(json.dumps(plan.status)))


def _admitted(**changes: Any) -> Resource:
    job = a_job(**{"nodes": 2, **changes})
    return _after(job, _plan(job))


RUNNING_PODS = (a_pod(0), a_pod(1))


def _running(**changes: Any) -> Resource:
    job = _admitted(**changes)
    return _after(job, _plan(job, jobs=(a_job_child(),), pods=RUNNING_PODS, children=_own_children()))


def _own_children() -> tuple[Child, ...]:
    applied = _plan(_admitted()).apply
    return tuple(
        Child(it["kind"], Meta(it["metadata"]["name"], "uid-x", owner=UID, spec_hash=naming.spec_hash(it)))
        for it in applied
    )


def _conditions(job: Resource) -> dict[str, tuple[str, str]]:
    return {it["type"]: (it["status"], it["reason"]) for it in job.status["conditions"]}


def _message(job: Resource, condition: str) -> str:
    return str(next(it["message"] for it in job.status["conditions"] if it["type"] == condition))


# Waiting.


def test_the_first_write_of_a_job_that_may_start_is_its_admission_and_nothing_else() -> None:
    plan = _plan(a_job(nodes=2))
    assert (plan.apply, plan.create, plan.delete, plan.events) == ((), (), (), ())
    job = _after(a_job(nodes=2), plan)
    assert job.status["phase"] == "Starting"
    assert (job.status["attempt"], job.status["startTime"]) == (1, times.stamp(NOW))
    assert _conditions(job)["Admitted"] == ("True", "Admitted")
    assert job.status["nodes"]["summary"] == "0/2"


def test_before_admission_has_looked_nothing_is_written() -> None:
    assert _plan(a_job(), verdict=None) == Plan()


def test_a_job_that_waits_says_why_and_where_it_stands() -> None:
    verdict = Verdict(False, "WaitingForNodes", "Needs 3 nodes.", position=2, ahead=1)
    job = _after(a_job(), _plan(a_job(), verdict=verdict))
    assert (job.status["phase"], job.status["reason"]) == ("Queued", "WaitingForNodes")
    assert job.status["queue"] == {
        "position": 2,
        "ahead": 1,
        "reason": "WaitingForNodes",
        "message": "Needs 3 nodes.",
        "updatedAt": times.stamp(NOW),
    }
    assert _conditions(job)["Ready"] == ("True", "Accepted")
    assert _plan(job, NOW + 99, verdict=verdict).status is None


@pytest.mark.parametrize("stale", [Verdict(True, attempt=2), Verdict(True, generation=5)])
def test_a_verdict_on_another_attempt_or_spec_admits_nobody(stale: Verdict) -> None:
    assert _plan(a_job(), verdict=stale) == Plan()


def test_a_missing_pool_is_waited_for() -> None:
    job = _after(a_job(), _plan(a_job(), pool=None, verdict=None))
    assert (job.status["phase"], job.status["reason"]) == ("Queued", "PoolNotFound")
    assert "There is no pool cpu" in _message(job, "Admitted")
    assert _after(job, _plan(job)).status["phase"] == "Starting"


def test_too_large_fails_at_the_first_look_and_waits_later() -> None:
    verdict = Verdict(False, "TooLarge", "Needs 5 nodes, but pool cpu has at most 4.")
    job = _after(a_job(), _plan(a_job(), verdict=verdict))
    assert (job.status["phase"], job.status["reason"]) == ("Failed", "TooLarge")
    early = _after(a_job(), _plan(a_job(), pool=None, verdict=None))
    assert _after(early, _plan(early, verdict=verdict)).status["phase"] == "Failed"
    queued = _after(a_job(), _plan(a_job(), verdict=Verdict(False, "WaitingForNodes", "…", 1)))
    assert _after(queued, _plan(queued, verdict=verdict)).status["phase"] == "Queued"


def test_what_a_pool_does_not_take_is_a_mistake_at_the_first_look_only() -> None:
    verdict = Verdict(False, "InvalidSpec", "Pool cpu does not take the image mine:1.")
    job = _after(a_job(), _plan(a_job(), verdict=verdict))
    assert (job.status["phase"], job.status["reason"]) == ("Failed", "InvalidSpec")
    assert _message(job, "Failed") == verdict.message
    queued = _after(a_job(), _plan(a_job(), verdict=Verdict(False, "WaitingForNodes", "…", 1)))
    waiting = _after(queued, _plan(queued, verdict=verdict))
    assert (waiting.status["phase"], waiting.status["reason"]) == ("Queued", "PoolNotAllowed")
    assert _message(waiting, "Admitted") == verdict.message
    assert _after(waiting, _plan(waiting)).status["phase"] == "Starting", "The pool takes it again."


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"nodes": 0}, "InvalidSpec", "spec.nodes: "),
        ({"xgboost.params.max_dept": 3}, "BadHyperParameter", "did you mean max_depth?"),
        (
            {"xgboost.features": [f"column-{n:05d}" * 20 for n in range(600)]},
            "InvalidSpec",
            "name fewer columns",
        ),
    ],
)
def test_what_can_never_run_fails_before_it_queues(changes: dict[str, Any], reason: str, words: str) -> None:
    job = _after(a_job(**changes), plan := _plan(a_job(**changes), verdict=None))
    assert (job.status["phase"], job.status["reason"]) == ("Failed", reason)
    assert words in _message(job, "Failed")
    assert {"Failed": ("True", reason), "Stalled": ("True", reason), "Ready": ("False", reason)}.items() <= (
        _conditions(job).items()
    )
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", reason)]
    assert _plan(job) == Plan()
    assert trainingjob.candidate(a_job(**changes), (), (), NOW) is None


def test_a_rule_that_a_newer_operator_brought_does_not_end_what_runs() -> None:
    job = _running()
    strict = replace(job, spec={**job.spec, "xgboost": {**job.spec["xgboost"], "params": {"old_name": 1}}})
    assert _plan(strict, jobs=(a_job_child(),), pods=RUNNING_PODS, children=_own_children()).status is None


def test_a_job_that_is_being_deleted_is_left_alone() -> None:
    job = a_job()
    assert _plan(replace(job, meta=replace(job.meta, deleting=True))) == Plan()


# Starting and running.


def test_after_the_admission_come_the_children() -> None:
    plan = _plan(_admitted())
    assert [it["kind"] for it in plan.apply] == ["Service", "NetworkPolicy"]
    assert [it["metadata"]["name"] for it in plan.create] == ["flights-1"]
    assert plan.status is None


def test_children_are_applied_again_only_if_they_differ_and_the_job_never() -> None:
    there = _own_children()
    assert _plan(_admitted(), jobs=(a_job_child(),), children=there).apply == ()
    changed = (replace(there[0], meta=replace(there[0].meta, spec_hash="old")), there[1])
    plan = _plan(_admitted(), jobs=(a_job_child(),), children=changed)
    assert [it["kind"] for it in plan.apply] == ["Service"]
    assert plan.create == ()
    going = (replace(there[0], meta=replace(there[0].meta, deleting=True, spec_hash="old")), there[1])
    assert _plan(_admitted(), jobs=(a_job_child(),), children=going).apply == ()


def _namesake(kind: str, name: str, **changes: Any) -> Child:
    labels = {naming.MANAGED_BY: "mlpools", naming.JOB_NAME: "flights", naming.JOB_UID: "uid-old"}
    return Child(
        kind, Meta(name, "uid-y", **{"namespace": "team-a", "owner": "uid-old", "labels": labels, **changes})
    )


@pytest.mark.parametrize(("kind", "name"), [("Service", "tj-flights"), ("NetworkPolicy", "tj-flights")])
def test_children_of_an_earlier_job_of_the_name_are_waited_for(kind: str, name: str) -> None:
    job, old = _admitted(), _namesake(kind, name)
    plan = _plan(job, children=(old,))
    assert (plan.apply, plan.create, plan.status) == ((), (), None)
    assert plan.requeue_after == 2
    stuck = _plan(job, NOW + 60, children=(old,))
    assert stuck.status is not None
    assert stuck.status["reason"] == "NameConflict"


def test_an_earlier_jobs_attempt_is_waited_for_too() -> None:
    old = _namesake("Job", "flights-1")
    plan = _plan(_admitted(), jobs=(JobChild(old.meta, 1, parallelism=2),))
    assert (plan.create, plan.requeue_after) == ((), 2)


def test_a_strangers_name_is_a_conflict_that_frees_the_nodes() -> None:
    stranger = _namesake("Service", "tj-flights", labels={}, owner="")
    job = _after(_admitted(), _plan(_admitted(), foreign=(stranger,)))
    assert (job.status["phase"], job.status["reason"]) == ("Queued", "NameConflict")
    assert "a Service named tj-flights is there that is not this job's" in _message(
        job, "Admitted"
    ).lower().replace("service", "Service")
    until = times.seconds(job.status["notBefore"])
    assert NOW + 10 <= until <= NOW + 16
    assert _plan(job, until - 5).requeue_after == 5
    again = _after(job, _plan(job, until, verdict=Verdict(True, attempt=2)))
    assert (again.status["attempt"], again.status["restarts"]) == (2, 0)


def test_what_the_cluster_refuses_frees_the_nodes() -> None:
    words = 'pods "flights-1-0-x" is forbidden: exceeded quota: compute'
    job = _after(_admitted(), plan := _plan(_admitted(), jobs=(a_job_child(),), refused=words))
    assert (job.status["phase"], job.status["reason"], job.status["restarts"]) == ("Queued", "PodsRefused", 0)
    assert words in _message(job, "Admitted")
    assert [event.reason for event in plan.events] == ["PodsRefused"]
    stop = _plan(job, NOW + 1, jobs=(a_job_child(),))
    assert [(it.kind, it.name) for it in stop.delete] == [("Job", "flights-1")]


def test_trouble_is_told_after_a_moment_and_given_up_after_a_while() -> None:
    words = "0/2 nodes are available: 2 Insufficient cpu."
    pods = (
        a_pod(0),
        a_pod(1, phase="Pending", ready=False, node="", scheduled=0.0, started=0.0, unschedulable=words),
    )
    there: dict[str, Any] = {"jobs": (a_job_child(),), "pods": pods, "children": _own_children()}
    job = _admitted()
    quiet = _plan(job, NOW + 1, **there)
    assert (quiet.status, quiet.requeue_after) == (None, 4)
    told = _plan(job, NOW + 5, **there)
    job = _after(job, told)
    assert (job.status["phase"], job.status["reason"]) == ("Starting", "Unschedulable")
    assert words in _message(job, "PodsReady")
    assert told.requeue_after == 295
    over = _after(job, _plan(job, NOW + 300, **there))
    assert (over.status["phase"], over.status["reason"]) == ("Queued", "Unschedulable")
    assert over.status["nodeSeconds"] == 600


def test_a_job_that_fails_while_its_pods_wait_for_ever_gives_its_nodes_back() -> None:
    pulling: dict[str, Any] = {"phase": "Pending", "ready": False, "started": 0.0}
    pulling["waiting"] = "ImagePullBackOff"
    pods = (a_pod(0, **pulling), a_pod(1, **pulling))
    there: dict[str, Any] = {"jobs": (a_job_child(),), "pods": pods, "children": _own_children()}
    job = _after(_admitted(maxRestarts=0), _plan(_admitted(maxRestarts=0), NOW + 60, **there))
    assert (job.status["phase"], job.status["reason"]) == ("Failed", "RestartsExhausted")
    assert [it.name for it in _plan(job, NOW + 61, **there).delete] == ["flights-1"]
    assert _plan(job, NOW + 61, **{**there, "pods": (ended(0, Exit.USER_CODE), pods[1])}) == Plan()


def test_a_name_that_is_taken_does_not_stop_what_runs() -> None:
    stranger = _namesake("Service", "tj-flights", labels={}, owner="")
    plan = _plan(_running(), jobs=(a_job_child(),), pods=RUNNING_PODS, children=(stranger,))
    assert plan == Plan()


def test_one_write_tells_that_all_pods_run() -> None:
    there: dict[str, Any] = {"jobs": (a_job_child(),), "children": _own_children()}
    waiting = a_pod(1, phase="Pending", ready=False, started=0.0)
    assert _plan(_admitted(), pods=(a_pod(0), waiting), **there).status is None
    job = _after(_admitted(), _plan(_admitted(), pods=RUNNING_PODS, **there))
    assert job.status["phase"] == "Running"
    assert job.status["nodes"]["summary"] == "2/2"
    assert _conditions(job)["PodsReady"] == ("True", "AllReady")
    assert _plan(job, NOW + 9, pods=(a_pod(0), replace(a_pod(1), ready=False)), **there).status is None


def test_progress_changes_only_when_the_report_does() -> None:
    there: dict[str, Any] = {"jobs": (a_job_child(),), "children": _own_children(), "pods": RUNNING_PODS}
    report = Report("Working", step=61, total_steps=100, metrics={"eval-rmse": 17.93}, checkpoint_step=60)
    job = _after(_running(), _plan(_running(), NOW + 5, report=report, **there))
    progress = job.status["progress"]
    assert (progress["percent"], progress["updatedAt"]) == (61.0, times.stamp(NOW + 5))
    assert job.status["output"]["checkpointStep"] == 60
    assert _plan(job, NOW + 20, report=report, **there).status is None
    assert _plan(job, NOW + 20, report=replace(report, age_seconds=15.0), **there).status is None
    assert _plan(job, NOW + 20, report=replace(report, attempt=2, step=1), **there).status is None
    later = _after(job, _plan(job, NOW + 20, report=replace(report, step=62), **there))
    assert later.status["progress"]["updatedAt"] == times.stamp(NOW + 20)


def test_a_rank_that_holds_up_the_others_is_named_with_its_pod_while_it_does() -> None:
    there: dict[str, Any] = {"jobs": (a_job_child(),), "children": _own_children(), "pods": RUNNING_PODS}
    report = Report("Working", step=61, slow_times=3.2, slow_rank=1)
    job = _after(_running(), _plan(_running(), NOW + 5, report=report, **there))
    assert _conditions(job)["Slowed"] == ("True", "RankSlow")
    pod = RUNNING_PODS[1]
    assert _message(job, "Slowed").startswith(
        f"Rank 1 (pod {pod.meta.name} on {pod.node}) takes 3.2 times as long as the others"
    )
    assert _plan(job, NOW + 20, report=report, **there).status is None
    for other in (replace(report, slow_times=0.0), replace(report, attempt=2)):
        assert "Slowed" not in _conditions(_after(job, _plan(job, NOW + 20, report=other, **there)))


def test_a_pool_that_was_deleted_lets_running_jobs_finish() -> None:
    assert _plan(_running(), pool=None, jobs=(a_job_child(),), pods=RUNNING_PODS).status is None
    lost = _after(_admitted(), _plan(_admitted(), pool=None))
    assert (lost.status["phase"], lost.status["reason"]) == ("Queued", "PoolNotFound")
    words = "Pool cpu was deleted before its pods were made."
    assert any(item["message"].startswith(words) for item in lost.status["conditions"])


@pytest.mark.parametrize(
    "stale", [Verdict(True, attempt=2, evict=True), Verdict(True, generation=5, evict=True)]
)
def test_an_eviction_of_another_attempt_or_spec_stops_nothing(stale: Verdict) -> None:
    there: dict[str, Any] = {"jobs": (a_job_child(),), "pods": RUNNING_PODS, "children": _own_children()}
    assert _plan(_running(), verdict=stale, **there).status is None
    assert _plan(_running(), verdict=Verdict(True, evict=True, message="…"), **there).status is not None


# The end.


def _end(job: Resource, *pods: PodChild, now: float = NOW + 60, **changes: Any) -> tuple[Resource, Plan]:
    plan = _plan(job, now, **{"jobs": (a_job_child(),), "pods": pods, "children": _own_children(), **changes})
    return _after(job, plan), plan


def test_a_finished_job_has_its_results_and_never_changes_again() -> None:
    outputs = {"modelURL": "file:///data/model/model.ubj", "resultURL": "file:///data/model/result.json"}
    won = ended(0, Exit.DONE, metrics={"eval-rmse": 17.93}, outputs=outputs, step=64, checkpoint_step=60)
    job, plan = _end(_running(), won, ended(1, Exit.DONE))
    assert job.status["phase"] == "Succeeded"
    assert _conditions(job)["Complete"] == ("True", "Succeeded")
    assert job.status["metrics"] == {"eval-rmse": 17.93}
    assert job.status["output"]["modelURL"] == outputs["modelURL"]
    assert job.status["output"]["logsURL"] == "file:///data/model/logs"
    assert job.status["nodeSeconds"] == 120
    assert [(event.type, event.reason) for event in plan.events] == [("Normal", "Complete")]
    assert plan.events[0].message == (
        "Trained 64 rounds on 2 nodes: eval-rmse 17.93. Model: file:///data/model/model.ubj"
    )
    assert _plan(job, NOW + 999, pool=None, verdict=None) == Plan()


def test_if_the_final_report_is_lost_the_job_decides_and_says_so() -> None:
    job, _ = _end(_running(), jobs=(a_job_child(ended="Complete"),))
    assert _conditions(job)["Complete"] == ("True", "ReportUnavailable")
    assert "the report of rank 0 was lost" in _message(job, "Complete")
    assert "file:///data/model" in _message(job, "Complete")


def test_a_users_mistake_is_told_with_its_place_and_not_retried() -> None:
    said = "KeyError: 'dep_tme' in train.py line 42. Columns at hand: dep_time, dep_delay."
    job, plan = _end(_running(), ended(0, Exit.PEER_LOST), ended(1, Exit.USER_CODE, message=said))
    assert _conditions(job)["Failed"] == ("True", "UserCodeError")
    assert _message(job, "Failed") == (
        f"Rank 1 (pod flights-1-1-abcde on node-1): {said} "
        "Logs: file:///data/model/logs/attempt-1/rank-1.log. "
        "Not retried: running it again cannot help."
    )
    assert [event.message for event in plan.events] == [_message(job, "Failed")]
    assert job.status["nodes"]["failedCount"] == 2
    assert job.status["nodes"]["failed"][0] == {
        "rank": 1,
        "pod": "flights-1-1-abcde",
        "node": "node-1",
        "reason": "UserCodeError",
        "exitCode": 10,
        "message": said,
    }


def test_a_crash_is_retried_from_the_checkpoint_until_restarts_are_exhausted() -> None:
    crash = ended(1, Exit.SIGNAL, message="The worker was killed by SIGSEGV.")
    peer = ended(0, Exit.PEER_LOST, checkpoint_step=40)  # rank 0 alone knows of checkpoints
    job, _ = _end(_running(maxRestarts=1), peer, crash)
    assert (job.status["phase"], job.status["restarts"], job.status["attempt"]) == ("Restarting", 1, 1)
    assert _message(job, "Admitted").endswith("Restart 1 of 1 in 10 s. It resumes from round 40.")
    assert job.status["output"]["checkpointStep"] == 40
    old = (a_job_child(1, ended="Failed"),)
    again = _after(job, _plan(job, NOW + 70, jobs=old, verdict=Verdict(True, attempt=2)))
    assert (again.status["phase"], again.status["attempt"]) == ("Starting", 2)
    assert "notBefore" not in again.status
    begun = _plan(again, NOW + 70, jobs=old, children=_own_children())
    assert [it.name for it in begun.delete] == ["flights-1"]
    assert [it["metadata"]["name"] for it in begun.create] == ["flights-2"]
    dead = tuple(replace(pod, attempt=2) for pod in (ended(0, Exit.PEER_LOST), crash))
    over, _ = _end(again, *dead, now=NOW + 99, jobs=(a_job_child(2),))
    assert _conditions(over)["Failed"] == ("True", "RestartsExhausted")
    assert _message(over, "Failed").startswith("WorkerCrashed: rank 1 (pod")


def test_out_of_memory_tells_the_limit_and_the_last_use_seen() -> None:
    killed = a_pod(1, phase="Failed", ready=False, exit_code=137, exit_reason="OOMKilled", finished=NOW)
    report = Report("Data", memory_bytes=int(3.7 * 2**30), memory_rank=1)
    pods = (ended(0, Exit.PEER_LOST), killed)
    job, _ = _end(_running(), *pods, report=report)
    assert "it ran out of memory at the limit of 4Gi; the last use seen was 3.7 GiB, on rank 1." in (
        _message(job, "Failed")
    )
    for unknown in (None, replace(report, attempt=2), replace(report, memory_bytes=0)):
        job, _ = _end(_running(), *pods, report=unknown)
        assert "at the limit of 4Gi." in _message(job, "Failed")


def test_a_lost_machine_costs_no_restart() -> None:
    lost = a_pod(1, ready=False, disruption="DeletionByTaintManager", disrupted=NOW)
    job, _ = _end(_running(maxRestarts=0), ended(0, Exit.PEER_LOST, NOW), lost)
    assert (job.status["phase"], job.status["reason"], job.status["restarts"]) == (
        "Restarting",
        "NodeLost",
        0,
    )
    assert "node-1 was lost" in _message(job, "Admitted")


def test_the_next_attempt_waits_for_pods_that_still_end_but_not_for_ever() -> None:
    job, _ = _end(_running(), ended(0, Exit.SIGNAL, NOW), a_pod(1))
    late = a_pod(1, attempt=1)
    old = replace(a_job_child(1), meta=replace(a_job_child(1).meta, deleting=True))
    again = _after(job, _plan(job, NOW + 70, jobs=(old,), pods=(late,), verdict=Verdict(True, attempt=2)))
    waiting = _plan(again, NOW + 71, jobs=(old,), pods=(late,), children=_own_children())
    assert (waiting.create, waiting.requeue_after) == ((), 2)
    gone = replace(late, disruption="DeletionByTaintManager", disrupted=NOW)
    assert _plan(again, NOW + 71, jobs=(old,), pods=(gone,), children=_own_children()).create
    assert _plan(again, NOW + 70 + 60 + 30, jobs=(old,), pods=(late,), children=_own_children()).create


def test_a_job_whose_attempt_somebody_deleted_starts_again() -> None:
    job, _ = _end(_running(), jobs=())
    assert (job.status["phase"], job.status["reason"]) == ("Restarting", "Preempted")
    assert "Its Job flights-1 was deleted." in _message(job, "Admitted")
    won, _ = _end(_running(), ended(0, Exit.DONE), ended(1, Exit.DONE), jobs=())
    assert won.status["phase"] == "Succeeded"


def test_a_settling_failure_changes_nothing_yet() -> None:
    plan = _plan(_running(), NOW + 4, jobs=(a_job_child(),), pods=(ended(0, Exit.PEER_LOST, NOW), a_pod(1)))
    assert (plan.status, plan.requeue_after) == (None, 6)


# What admission sees.


def test_a_new_job_asks_for_its_nodes() -> None:
    candidate = trainingjob.candidate(a_job(nodes=3, priority=2), (), (), NOW)
    assert candidate is not None
    assert (candidate.nodes, candidate.priority, candidate.held, candidate.admitted) == (3, 2, 0, False)
    assert candidate.ticket == (UID, 1, 1, False, 0)


@pytest.mark.parametrize(
    ("jobs", "pods", "held"),
    [
        ((), (), 2),
        ((a_job_child(),), (), 2),
        ((a_job_child(),), RUNNING_PODS, 2),
        ((a_job_child(),), (a_pod(0), ended(1, Exit.DONE)), 1),
    ],
)
def test_an_admitted_job_holds_what_it_was_admitted_for_until_its_pods_end(
    jobs: tuple[JobChild, ...], pods: tuple[PodChild, ...], held: int
) -> None:
    candidate = trainingjob.candidate(_admitted(), jobs, pods, NOW)
    assert candidate is not None
    assert (candidate.admitted, candidate.held) == (True, held)


def test_a_finished_job_holds_its_nodes_until_its_pods_are_gone() -> None:
    job, _ = _end(_running(), ended(0, Exit.DONE), a_pod(1))
    child = a_job_child(ended="Complete")
    holding = trainingjob.candidate(job, (child,), (ended(0, Exit.DONE), a_pod(1)), NOW)
    assert holding is not None
    assert (holding.held, holding.admitted, bool(holding.blocked)) == (1, False, True)
    assert trainingjob.candidate(job, (child,), (ended(0, Exit.DONE), ended(1, Exit.DONE)), NOW) is None


def test_what_an_ended_job_found_out_about_its_network_is_heard_for_a_while() -> None:
    slow = replace(ended(1, Exit.FABRIC_TOO_SLOW), termination=Final(18, 1, message="too slow").to_json())
    job, _ = _end(_running(maxRestarts=0), ended(0, Exit.PEER_LOST), slow)
    assert job.status["phase"] == "Failed"
    candidate = trainingjob.candidate(job, (), (), NOW)
    assert candidate is not None
    assert candidate.fabric is not None
    assert (candidate.fabric.verified, candidate.fabric.message) == (False, "too slow")
    assert (candidate.nodes, candidate.held, bool(candidate.blocked)) == (0, 0, True)
    assert trainingjob.candidate(job, (), (), NOW + 3600) is None


def test_a_restarting_job_asks_for_the_next_attempt_and_counts_what_is_left_of_the_last() -> None:
    job, _ = _end(_running(), ended(0, Exit.SIGNAL, NOW), a_pod(1))
    old = replace(a_job_child(1), meta=replace(a_job_child(1).meta, deleting=True))
    candidate = trainingjob.candidate(job, (old,), (a_pod(1),), NOW)
    assert candidate is not None
    assert (candidate.attempt, candidate.held, candidate.admitted) == (2, 1, False)
    assert candidate.not_before == NOW + 70


# Whatever happens.

_text = st.text(max_size=1000)
_ugly = st.one_of(_text, st.sampled_from(('"' * 5000, "\\" * 5000, "\x00" * 5000, "é" * 5000, "🚀" * 3000)))


@given(
    _ugly,
    _ugly,
    st.integers(1, 64),
    st.sampled_from(sorted(Exit)),
    st.dictionaries(_text, st.floats(), max_size=40),
)
def test_a_status_never_takes_more_than_32_kib(
    said: str, url: str, nodes: int, code: Exit, metrics: dict[str, float]
) -> None:
    long = "n" * 253
    report = {"code": int(code), "rank": 0, "message": said, "metrics": metrics, "outputs": {"modelURL": url}}
    pods = tuple(
        a_pod(
            rank,
            phase="Succeeded" if code == 0 else "Failed",
            node=long,
            exit_code=int(code),
            termination=json.dumps({**report, "rank": rank, "outputs": dict.fromkeys(_URLS, url)}),
            finished=NOW,
        )
        for rank in range(nodes)
    )
    place = "/data/" + "x" * 1000
    job = _admitted(**{"nodes": nodes, "output.url": place, "checkpoint": {"url": place}})
    full = {
        "suspectNodes": [{"node": f"{rank:02d}{long}"[:253], "failures": 2} for rank in range(16)],
        "lackedCapacity": {"instanceFamily": "n" * 63, "time": times.stamp(NOW), "message": "m" * 512},
    }
    job = replace(job, status={**job.status, **full})
    job, plan = _end(job, *pods, jobs=(a_job_child(nodes=nodes),))
    assert len(json.dumps(job.status, ensure_ascii=False).encode()) <= 32 * 1024
    assert TrainingJobStatus.model_validate(job.status).plain() == job.status
    assert all(len(event.message.encode()) <= 1024 for event in plan.events)


_URLS = ("modelURL", "metricsURL", "resultURL", "logsURL", "checkpointURL")


@given(_ugly, _ugly)
def test_nor_does_one_that_waits(message: str, refused: str) -> None:
    waiting = _plan(a_job(), verdict=Verdict(False, "WaitingForNodes", message, 1))
    assert len(json.dumps(waiting.status, ensure_ascii=False).encode()) <= 32 * 1024
    blocked = _plan(_admitted(), refused=refused or "no")
    assert len(json.dumps(blocked.status, ensure_ascii=False).encode()) <= 32 * 1024
