"""A BatchInference before a real API server and its Job controller: its nodes come and go, rank 0 is it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.kubelet import predicted, rank_of
from tests.support.rank_0 import Rank0, rank_0
from tests.support.waiting import wait_for
from tools.cluster.controlplane import ControlPlane
from tools.kubectl import Kubectl

pytestmark = pytest.mark.integration

HALF = {"total": 8, "done": 4, "failed": 1}
ROWS = {"total": 1000, "done": 500, "failed": 100}


@pytest.fixture
def score(bench: Bench) -> Bench:
    """The bench, about batch inferences."""
    return bench.of("BatchInference")


def status(score: Bench, name: str = "score") -> Object:
    found: Object = score.job(name).get("status", {})
    return found


def said(score: Bench, condition: str, name: str = "score") -> Object:
    found = (it for it in status(score, name).get("conditions", ()) if it["type"] == condition)
    return next(found, {})


def granted(score: Bench, nodes: int, name: str = "score") -> None:
    wait_for(f"{nodes} nodes of {name}", lambda: status(score, name)["nodes"]["granted"] == nodes)


def ranks(score: Bench, name: str = "score", attempt: int = 1) -> list[int]:
    """Return the ranks whose pods have not ended and are not told to."""
    there = score.kubelet.there(name, attempt)
    return [rank_of(pod) for pod in there if pod["status"]["phase"] in ("Pending", "Running")]


def runs(score: Bench, *wanted: int, name: str = "score", attempt: int = 1) -> list[Object]:
    """Wait until it has just these ranks, and run their pods."""
    expected = list(wanted)
    wait_for(f"ranks {expected} of {name}", lambda: ranks(score, name, attempt) == expected)
    living = ("Pending", "Running")
    pods = [it for it in score.kubelet.there(name, attempt) if it["status"]["phase"] in living]
    score.kubelet.run([it for it in pods if it["status"]["phase"] == "Pending"])
    wait_for(
        f"{len(wanted)} ready pods of {name}", lambda: status(score, name)["nodes"]["ready"] == len(wanted)
    )
    return pods


def hold(score: Bench, nodes: int, **changes: Any) -> list[Object]:
    """Have a training hold nodes, and return its pods."""
    trains = score.of("TrainingJob")
    trains.submit("train", nodes=nodes, **changes)
    pods = score.kubelet.pods("train", 1, nodes)
    score.kubelet.run(pods)
    trains.phase("train", "Running")
    return pods


def ended(score: Bench, pods: Sequence[Object], final: Final) -> None:
    score.kubelet.finish(pods, final, final.code)


def test_it_begins_with_one_node_grows_and_tells_how_far_it_is(
    score: Bench, control_plane: ControlPlane
) -> None:
    with rank_0() as first:
        _grow(score, first)
        columns = Kubectl(control_plane.kubeconfig).run("get", "bi,mlpools", "-n", score.namespace)
        _check_columns(columns, score.pool)
        final = predicted()
        lacks = "100 of 1000 rows lack a prediction; _errors.jsonl has them."
        final = Final(**{**vars(final), "partial": lacks, "rows": {**final.rows, "failed": 100}})
        ended(score, score.kubelet.there("score", 1)[:1], final)
        score.phase("score", "Succeeded")
    done = status(score)
    assert (done["outputURL"], done["manifestURL"]) == (
        "file:///data/predictions",
        "file:///data/predictions/_SUCCESS",
    )
    assert done["progress"]["percent"] == 100.0
    assert done["nodes"]["granted"] == 0
    assert lacks in said(score, "Complete")["message"]
    assert (said(score, "PartialOutput")["reason"], said(score, "PartialOutput")["message"]) == (
        "RowsMissing",
        lacks,
    )
    assert said(score, "WeakCommit")["reason"] == "NoCreateOnlyWrite", "it holds to the end"
    assert [it["type"] for it in done["conditions"] if not it["message"]] == []


def _grow(score: Bench, first: Rank0) -> None:
    score.operator(progress_seconds="0.2").wait_ready()
    trains = hold(score, 3)
    score.submit("score", nodes=3)
    pods = score.kubelet.pods("score", 1, 1)
    score.kubelet.run(pods, address=first.address)
    score.phase("score", "Running")
    assert (ranks(score), status(score)["nodes"]["summary"]) == ([0], "1/3")
    score.kubelet.finish(trains)
    granted(score, 3)
    runs(score, 0, 1, 2)
    first.value = Report(
        "Running",
        attempt=1,
        shards=HALF,
        rows=ROWS,
        rows_per_second=1_234_567.0,
        eta_seconds=40.0,
        weak_commit="file:///data takes no links.",
    )
    wait_for("progress", lambda: status(score).get("progress"))
    now = status(score)
    assert (now["shards"], now["rows"]) == (HALF, ROWS)
    assert (now["progress"]["rowsPerSecond"], now["progress"]["etaSeconds"]) == (1_234_570.0, 40.0)
    assert now["nodes"]["summary"] == "3/3"
    assert said(score, "WeakCommit")["message"] == "file:///data takes no links."
    assert said(score, "Running")["message"] == "Attempt 1 predicts on 3 nodes."


def _check_columns(text: str, pool: str) -> None:
    short, _, everything = text.partition("\n\n")
    assert short.split("\n")[0].split() == ["NAME", "POOL", "PHASE", "NODES", "PROGRESS", "REASON", "AGE"]
    wanted = ["batchinference.mlpools.dev/score", pool, "Running", "3/3", "60%", "1.23M", "rows/s", "40s"]
    assert short.split("\n")[1].split()[: len(wanted)] == wanted
    assert "computepool.mlpools.dev/" in everything or "computepool.mlpools.dev/" in text


def test_what_it_took_while_nobody_waited_goes_to_who_waits(score: Bench) -> None:
    score.operator().wait_ready()
    score.submit("score", nodes=4)
    runs(score, 0, 1, 2, 3)
    score.of("TrainingJob").submit("train", nodes=2)
    granted(score, 2)
    wait_for("end of the last two", lambda: ranks(score) == [0, 1])
    score.of("TrainingJob").phase("train", "Queued")  # nodes are held until their pods are gone
    assert score.kubelet.there("train", 1) == []
    score.kubelet.terminate(Final(Exit.PREEMPTED, rank=3))
    hold_on = score.kubelet.pods("train", 1, 2)
    score.kubelet.run(hold_on)
    score.of("TrainingJob").phase("train", "Running")
    now = status(score)
    assert (now["phase"], now["attempt"], now["restarts"]) == ("Running", 1, 0)
    assert said(score, "Admitted")["message"] == f"Attempt 1 holds 2 nodes of pool {score.pool}."
    score.kubelet.finish(hold_on, score.of("TrainingJob").done())
    runs(score, 0, 1, 2, 3)


def test_one_of_higher_priority_takes_the_last_node_only_where_the_pool_lets_it(score: Bench) -> None:
    score.operator().wait_ready()
    score.submit("score", nodes=2)
    runs(score, 0, 1)
    score.of("TrainingJob").submit("urgent", nodes=4, priority=5)

    def told() -> str:
        queue = score.of("TrainingJob").job("urgent").get("status", {}).get("queue", {})
        return str(queue.get("message", ""))

    wait_for("a word to who waits", lambda: "To start sooner" in told())
    assert status(score)["nodes"]["granted"] == 2, "in vain"
    rules = {"op": "add", "path": "/spec/queue", "value": {"preemption": "LowerPriority"}}
    score.kube.edit("ComputePool", score.pool, [rules])
    wait_for("pods that are told to end", lambda: ranks(score) == [])
    score.kubelet.terminate(Final(Exit.PREEMPTED, rank=0, shards=HALF))
    score.of("TrainingJob").phase("urgent", "Starting")
    now = score.phase("score", "Queued")["status"]
    assert (now["restarts"], now["shards"], now["nodes"]["granted"]) == (0, HALF, 0)


@pytest.mark.parametrize("code", [Exit.PREEMPTED, Exit.SIGNAL])
def test_a_lost_follower_costs_nothing_and_is_replaced(score: Bench, code: Exit) -> None:
    score.operator().wait_ready()
    score.submit("score", nodes=3)
    pods = runs(score, 0, 1, 2)
    ended(score, pods[2:], Final(code, rank=2, message="It is gone."))
    after = runs(score, 0, 1, 2)
    assert after[2]["metadata"]["uid"] != pods[2]["metadata"]["uid"]
    now = status(score)
    assert (now["phase"], now["attempt"], now["restarts"]) == ("Running", 1, 0)
    assert "Restarting" not in str(now["conditions"])


def test_the_node_of_a_follower_that_only_fails_is_given_back(score: Bench) -> None:
    score.operator().wait_ready()
    score.submit("score", nodes=3, maxRestarts=0)
    pods = runs(score, 0, 1, 2)
    ended(score, pods[1:2], Final(Exit.USER_CODE, rank=1, message="It does not work."))
    granted(score, 2)
    runs(score, 0, 2)
    now = status(score)
    assert (now["phase"], now["attempt"], now["nodes"]["lost"]) == ("Running", 1, 1)
    assert said(score, "Admitted")["message"].endswith("1 node given back: a worker there only failed.")
    score.of("TrainingJob").submit("train", nodes=3)
    granted(score, 1)
    wait_for("end of the last one", lambda: ranks(score) == [0])
    score.kubelet.terminate(Final(Exit.PREEMPTED, rank=2))
    score.of("TrainingJob").phase("train", "Starting")
    assert (ranks(score), status(score)["phase"]) == ([0], "Running")
    ended(score, pods[:1], predicted())
    score.phase("score", "Succeeded")


def test_a_new_attempt_follows_rank_0_and_goes_on_with_what_is_left(score: Bench) -> None:
    score.operator().wait_ready()
    score.submit("score", nodes=2)
    pods = runs(score, 0, 1)
    ended(score, pods[:1], Final(Exit.SIGNAL, rank=0, message="It crashed.", shards=HALF, rows=ROWS))
    lost = score.phase("score", "Restarting")["status"]
    assert (lost["reason"], lost["shards"]) == ("WorkerCrashed", HALF)
    assert "4 of 8 shards are written and stay." in said(score, "Admitted")["message"]
    wait_for("end of the other", lambda: score.kubelet.collect() or ranks(score) == [])
    runs(score, 0, 1, attempt=2)
    now = status(score)
    assert (now["attempt"], now["restarts"], now["phase"]) == (2, 1, "Running")


@pytest.mark.parametrize("end", ["suspend", "delete"])
def test_without_its_pool_it_goes_on_with_what_it_has(score: Bench, end: str) -> None:
    score.operator().wait_ready()
    trains = hold(score, 2)
    score.submit("score", nodes=4)
    pods = runs(score, 0, 1)
    if end == "delete":
        score.kube.delete("ComputePool", score.pool)
    else:
        score.kube.patch("ComputePool", score.pool, {"spec": {"suspend": True}})
    score.submit("later", nodes=1)
    later = score.phase("later", "Queued")["status"]
    assert later["reason"] == ("PoolNotFound" if end == "delete" else "PoolSuspended")
    score.kubelet.finish(trains, score.of("TrainingJob").done())
    score.of("TrainingJob").phase("train", "Succeeded")
    assert (ranks(score), status(score)["nodes"]["granted"]) == ([0, 1], 2), "nobody gets more"
    ended(score, pods[:1], predicted())
    assert score.phase("score", "Succeeded")["status"]["attempt"] == 1


def test_it_gives_nodes_back_for_which_nothing_is_left(score: Bench) -> None:
    score.operator().wait_ready()
    score.submit("score", nodes=4)
    pods = runs(score, 0, 1, 2, 3)
    ended(score, pods[2:], Final(Exit.DONE, rank=3))
    granted(score, 2)
    score.of("TrainingJob").submit("train", nodes=2)
    score.of("TrainingJob").phase("train", "Starting")
    assert (ranks(score), status(score)["phase"]) == ([0, 1], "Running")
    ended(score, pods[:1], predicted())
    score.phase("score", "Succeeded")
