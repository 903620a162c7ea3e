"""A BatchInference in the simulated cluster: it grows, loses workers, gives nodes back, and ends once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.ends import Exit
from mlpools.contract.wiring import TASK_ENV
from mlpools_operator.domain import times
from mlpools_operator.domain.job import elastic
from mlpools_operator.domain.job.transitions import Predicted
from mlpools_operator.domain.observed import JobChild, Meta
from tests.support.api_server import is_terminal
from tests.support.domain_run import NAMESPACE, Run
from tests.support.job_controller import index_of
from tests.support.operator_sim import Died, Fuse

KIND = "BatchInference"


def granted(run: Run, name: str = "score") -> int:
    nodes: int = run.status(name)["nodes"]["granted"]
    return nodes


def started(run: Run, name: str = "score", pods: int = 1, **changes: Any) -> None:
    """Submit it and go on until so many of its pods are ready."""
    run.submit(name, KIND, **changes)
    for _ in range(20):
        run.go(1)
        if run.status(name).get("nodes", {}).get("ready") == pods:
            return
    raise AssertionError(run.status(name))


def test_it_takes_all_free_nodes_at_once_and_ends() -> None:
    run = Run(max_nodes=4, steps=200)
    started(run, pods=4, nodes=8)
    assert (granted(run), run.status("score")["nodes"]["summary"]) == (4, "4/8")
    run.world.steps = 5
    run.settle()
    status = run.status("score")
    assert (status["phase"], status["attempt"], status["nodes"]["granted"]) == ("Succeeded", 1, 0)
    assert (status["shards"]["total"], status["progress"]["percent"]) == (5, 100.0)


def test_rows_and_shards_are_counted_once_although_it_restarts() -> None:
    run = Run(max_nodes=3, steps=60)
    started(run, pods=3, nodes=3)
    half = {"total": 60, "done": 30, "failed": 1}
    run.world.kill(run.pods("score")[0], Exit.SIGNAL, shards=half, rows=half)
    run.until("score", "Succeeded", rounds=200)
    told = [it for _, it in run.operator.told if isinstance(it, Predicted)]
    assert (sum(it.rows for it in told), sum(it.done for it in told)) == (60, 60)
    assert sum(it.failed for it in told) == 1


def test_it_starts_with_one_node_and_grows_when_others_end() -> None:
    run = Run(max_nodes=3, steps=500)
    run.submit("train", nodes=2)
    run.until("train", "Running")
    started(run, nodes=3)
    assert granted(run) == 1
    run.world.kill(run.pods("train")[0], Exit.USER_CODE)
    run.until("train", "Failed")
    run.go(10)
    assert (granted(run), len(run.pods("score")), run.status("score")["attempt"]) == (3, 3, 1)


def test_nodes_are_taken_from_the_status_on_although_their_pods_are_not_asked_for_yet() -> None:
    run = Run(max_nodes=4, steps=500)
    run.submit("holder", nodes=3)
    run.until("holder", "Running")
    started(run, nodes=4)
    run.world.kill(run.pods("holder")[0], Exit.USER_CODE)
    while granted(run) < 4:
        for act in run.world.actors.values():
            act()
        run.clock.advance(1)
        run.operator.pass_all()
    jobs = {it["metadata"]["name"]: it["spec"]["parallelism"] for it in run.world.list("Job")}
    assert jobs["score-1"] == 1, "it is scaled in the next pass"
    run.submit("train", nodes=3)
    run.go(30)  # checks that no more nodes are held than the pool has
    assert (run.status("train")["phase"], granted(run)) == ("Running", 1)


def test_it_does_not_grow_while_somebody_waits() -> None:
    run = Run(max_nodes=3, steps=500)
    started(run, pods=1, nodes=1)
    run.submit("train", nodes=3)
    run.submit("other", KIND, nodes=3)
    run.go(10)
    assert run.status("train")["reason"] == "WaitingForNodes"
    assert granted(run, "other") == 1


def test_it_gets_the_pods_that_its_status_says_although_its_pool_is_gone() -> None:
    run = Run(max_nodes=3, steps=500)
    run.submit("train", nodes=2)
    run.until("train", "Running")
    started(run, nodes=3)
    run.world.kill(run.pods("train")[0], Exit.USER_CODE)
    while granted(run) < 3:
        run.round()
        pool = run.world.list("ComputePool")[0]
        if granted(run) == 3:
            run.world.delete("ComputePool", "", "cpu", pool["metadata"]["uid"])
    run.go(5)
    assert (run.world.list("ComputePool"), len(run.pods("score"))) == ([], 3)


def test_one_of_higher_priority_takes_only_what_it_needs() -> None:
    run = Run(max_nodes=4, steps=500, queue={"preemption": "LowerPriority"})
    started(run, pods=4, nodes=4)
    run.submit("train", nodes=3, priority=5)
    run.until("train", "Running")
    status = run.status("score")
    assert (granted(run), status["phase"], status["attempt"]) == (1, "Running", 1)
    run.submit("urgent", nodes=1, priority=9)
    run.until("urgent", "Running")
    assert run.status("score")["phase"] == "Queued"


def test_what_it_took_it_gives_back_to_whoever_waits() -> None:
    run = Run(max_nodes=4, steps=500)
    started(run, pods=4, nodes=4)
    run.submit("train", nodes=2)
    assert run.until("train", "Running")["attempt"] == 1
    assert (granted(run), run.status("score")["phase"], run.status("score")["attempt"]) == (2, "Running", 1)
    started(run, "other", pods=1, nodes=4)
    assert (granted(run), granted(run, "other")) == (1, 1)
    run.world.kill(run.pods("train")[0], Exit.USER_CODE)
    run.until("train", "Failed")
    run.go(10)
    assert (granted(run), granted(run, "other")) == (3, 1), "the older one is served first"


@pytest.mark.parametrize("code", [Exit.SIGNAL, Exit.PREEMPTED, Exit.USER_CODE, Exit.PEER_LOST])
def test_a_dead_worker_is_replaced_and_the_attempt_goes_on(code: Exit) -> None:
    run = Run(max_nodes=3, steps=500)
    started(run, pods=3, nodes=3)
    run.world.kill(run.pods("score")[2], code)
    run.go(6)
    assert len(run.pods("score")) == 3
    status = run.status("score")
    assert (status["phase"], status["attempt"], status["restarts"]) == ("Running", 1, 0)


def test_the_node_of_a_worker_that_only_fails_is_given_back() -> None:
    run = Run(max_nodes=3, steps=500)
    started(run, pods=3, nodes=3, maxRestarts=1)
    for _ in range(2):
        [pod] = (it for it in run.pods("score") if index_of(it) == 1 and not is_terminal(it))
        run.world.kill(pod, Exit.USER_CODE)
        run.go(6)
    status = run.status("score")
    assert (status["phase"], status["attempt"], granted(run), status["nodes"]["lost"]) == ("Running", 1, 2, 1)
    admitted = next(it["message"] for it in status["conditions"] if it["type"] == "Admitted")
    assert admitted.endswith("1 node given back: a worker there only failed.")
    living = {index_of(it) for it in run.pods("score") if not is_terminal(it)}
    assert living == {0, 2}
    run.go(10)
    assert granted(run) == 2, "it does not take back what was of no use"
    run.submit("train", nodes=2)  # one node is free, and the other one is asked back: rank 2's
    run.until("train", "Running")
    assert {index_of(it) for it in run.pods("score") if not is_terminal(it)} == {0}
    run.world.kill(run.pods("train")[0], Exit.USER_CODE)
    run.until("train", "Failed")
    run.go(10)
    assert (granted(run), status["attempt"]) == (2, 1)
    run.world.kill(run.pods("score")[0], Exit.SIGNAL)
    run.until("score", "Restarting")
    run.until("score", "Running")
    run.go(6)
    assert (granted(run), run.status("score")["nodes"]["lost"]) == (3, 0), "another attempt tries all of them"


@given(st.integers(1, 6), st.frozensets(st.integers(1, 8)))
def test_a_job_has_a_pod_for_each_node_beside_those_that_were_given_up(
    nodes: int, lost: frozenset[int]
) -> None:
    job = JobChild(Meta("score-1", "uid"), attempt=1, given_up=lost)
    ranks = range(elastic.pods(job, nodes))
    assert len(set(ranks) - lost) == nodes
    assert ranks[-1] not in lost


def test_a_lost_machine_of_a_worker_costs_that_worker_only() -> None:
    run = Run(max_nodes=3, steps=500)
    started(run, pods=3, nodes=3)
    lost = next(it for it in run.pods("score") if it["metadata"]["name"].startswith("score-1-2"))
    run.world.machines["node-c"] = 4
    run.world.patch(
        "Pod", NAMESPACE, lost["metadata"]["name"], lambda it: it["spec"].update(nodeName="node-c")
    )
    run.world.lose("node-c")
    run.go(30)
    assert (run.status("score")["phase"], run.status("score")["attempt"]) == ("Running", 1)


def test_with_rank_0_the_attempt_is_over_and_another_follows() -> None:
    run = Run(max_nodes=3, steps=60)
    started(run, pods=3, nodes=3)
    run.world.kill(run.pods("score")[0], Exit.SIGNAL, message="It crashed.")
    run.until("score", "Restarting")
    assert run.status("score")["reason"] == "WorkerCrashed"
    status = run.until("score", "Succeeded", rounds=200)
    assert (status["attempt"], status["restarts"]) == (2, 1)


def told(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a pod has to do."""
    [main] = pod["spec"]["containers"]
    [task] = (it["value"] for it in main["env"] if it["name"] == TASK_ENV)
    section: dict[str, Any] = json.loads(task)["spec"]
    return section


def test_out_of_memory_is_tried_again_with_smaller_batches() -> None:
    run = Run(max_nodes=2, steps=60)
    started(run, pods=2, nodes=2, maxRestarts=1)
    assert "outOfMemory" not in told(run.pods("score")[0])
    run.world.kill(run.pods("score")[0], reason="OOMKilled")
    status = run.until("score", "Restarting")
    assert (status["reason"], status["restarts"]) == ("OutOfMemory", 1)
    run.until("score", "Running")
    assert {told(pod)["outOfMemory"] for pod in run.pods("score") if not is_terminal(pod)} == {1}
    run.world.kill(next(pod for pod in run.pods("score") if not is_terminal(pod)), reason="OOMKilled")
    assert run.until("score", "Failed")["reason"] == "RestartsExhausted"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (Exit.OUTPUT_EXISTS, "OutputExists"),
        (Exit.MODEL_UNREADABLE, "ModelUnreadable"),
        (Exit.MODEL_MISMATCH, "ModelMismatch"),
        (Exit.SHARDS_FAILED, "ShardsFailed"),
    ],
)
def test_what_cannot_be_cured_ends_it(code: Exit, reason: str) -> None:
    run = Run(steps=500)
    started(run, pods=2, nodes=2)
    shards = {"total": 9, "done": 4, "failed": 2}
    run.world.kill(run.pods("score")[0], code, message="It is so.", shards=shards)
    status = run.until("score", "Failed")
    assert (status["reason"], status["attempt"], status["shards"]["done"]) == (reason, 1, 4)
    run.settle()
    assert run.pods("score") == []


def test_suspending_gives_all_nodes_back_and_goes_on_later() -> None:
    run = Run(max_nodes=3, steps=100)
    started(run, pods=3, nodes=3)
    run.change("score", suspend=True)
    status = run.until("score", "Suspended")
    assert (run.pods("score"), status["nodes"]["granted"]) == ([], 0)
    assert status["nodeSeconds"] > status["heldSeconds"] > 0
    run.change("score", suspend=False)
    assert run.until("score", "Succeeded", rounds=200)["attempt"] == 2


def test_its_deadline_counts_the_time_and_not_the_nodes() -> None:
    run = Run(max_nodes=4, steps=5000)
    started(run, pods=4, nodes=4, activeDeadlineSeconds=100)
    run.go(50)
    assert run.status("score")["phase"] == "Running"
    assert run.until("score", "Failed", rounds=80)["reason"] == "DeadlineExceeded"


def test_each_run_of_a_schedule_reads_and_writes_its_own() -> None:
    run = Run(max_nodes=2)
    places = {"input.parquet.url": "/data/{date}/*.parquet", "model.url": "/data/models/{date}/model.ubj"}
    run.submit("score", KIND, schedule={"cron": "* * * * *", "concurrencyPolicy": "Allow"}, **places)
    run.go(70)
    assert run.status("score")["phase"] == "Scheduled"
    made = next(it for it in run.world.list(KIND) if it["metadata"]["name"] != "score")
    day, spec = times.stamp(run.clock())[:10], made["spec"]
    assert spec["input"]["parquet"]["url"] == f"/data/{day}/*.parquet"
    assert spec["model"]["url"] == f"/data/models/{day}/model.ubj"
    assert spec["output"]["url"] == f"file:///data/predictions/{made['metadata']['name']}"
    assert made["status"]["phase"] in ("Running", "Succeeded")


@pytest.mark.parametrize("write", range(14))
def test_a_crash_before_any_write_never_promises_a_node_twice(write: int) -> None:
    run = Run(max_nodes=4, steps=40, queue={"preemption": "LowerPriority"})
    run.operator.fuse = Fuse(write)
    run.submit("score", KIND, nodes=4)

    def go(rounds: int) -> None:
        for _ in range(rounds):
            try:
                run.round()  # checks that no more nodes are held than the pool has
            except Died:
                run.operator.restart()
            run.clock.advance(1)

    go(8)
    run.submit("train", nodes=3, priority=5)
    go(60)
    run.settle()
    assert [run.status(name)["phase"] for name in ("score", "train")] == ["Succeeded", "Succeeded"]
