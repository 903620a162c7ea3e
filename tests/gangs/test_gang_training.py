"""Real gangs train real models: the same result whatever is interrupted, killed or stuck."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import Task
from tests.support.flights import CARRIERS, flights, spec, write_flights
from tests.support.gate import GATE, gated
from tests.support.pods import Pods, read_history, read_json, task, wait_for

ROWS = 4_000
SPEC = spec(rounds=300, earlyStoppingRounds=280)


@dataclass(frozen=True)
class Run:
    task: Task
    output: Path
    finals: list[Final]
    result: Any
    history: dict[str, list[Any]]
    model: bytes

    def booster(self) -> xgb.Booster:
        booster = xgb.Booster()
        booster.load_model(bytearray(self.model))
        return booster


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("flights")
    sources = write_flights(folder, ROWS)
    pq.write_table(flights(1, seed=5), folder / "tiny.parquet")  # one rank has no row of it
    return {**sources, "tiny": {"parquet": {"url": str(folder / "tiny.parquet")}}}


@pytest.fixture(scope="module")
def trained(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two ranks, never interrupted."""
    folder = tmp_path_factory.mktemp("run")
    work = task(folder / "out", nodes=2, spec=SPEC, data=data)
    with Pods(work, folder / "pods") as pods:
        finals = pods.wait()
        assert [final.code for final in finals] == [0, 0], pods[0].output() + pods[1].output()
    output = folder / "out"
    return Run(
        work,
        output,
        finals,
        read_json(output / "result.json"),
        read_history(output),
        (output / "model.ubj").read_bytes(),
    )


def matrix(table: pa.Table, booster: xgb.Booster | None = None) -> xgb.DMatrix:
    """Return rows as a user would give them to plain XGBoost, with categories of their own order."""
    features = table.drop_columns(["arr_delay"])
    carriers = pa.DictionaryArray.from_arrays(
        pa.array([CARRIERS.index(c) for c in table["carrier"].to_pylist()], pa.int32()), pa.array(CARRIERS)
    )
    return xgb.DMatrix(
        features.set_column(0, "carrier", carriers),
        label=table["arr_delay"].to_numpy(),
        enable_categorical=True,
    )


def rmse(predicted: np.ndarray, table: pa.Table) -> float:
    return float(np.sqrt(np.mean((predicted - table["arr_delay"].to_numpy()) ** 2)))


def test_every_training_row_is_in_every_tree_once(trained: Run) -> None:
    trees = trained.booster().get_dump(with_stats=True, dump_format="json")
    assert len(trees) == 300
    assert {json.loads(tree)["cover"] for tree in trees} == {float(ROWS)}


def test_the_ranks_read_disjoint_row_groups_that_sum_to_the_whole(trained: Run) -> None:
    ranks = [rank["data"]["train"] for rank in trained.result["ranks"]]
    groups = [group for rank in ranks for group in rank["rowGroups"]]
    assert sum(stop - start for _, start, stop in groups) == ROWS == trained.result["rows"]["train"]
    assert len({(group, row) for group, start, stop in groups for row in range(start, stop)}) == ROWS
    assert all(rank["rows"] >= 0.45 * ROWS for rank in ranks)


def test_the_kernel_saw_each_rank_read_its_row_groups_once_and_no_others(trained: Run) -> None:
    folder = Path(trained.task.data["train"]["parquet"]["url"].removeprefix("file://")).parent
    files = sorted(folder.iterdir())
    metas = [pq.read_metadata(path) for path in files]
    groups = [(f, meta.row_group(i)) for f, meta in enumerate(metas) for i in range(meta.num_row_groups)]
    for rank in trained.result["ranks"]:
        read = rank["data"]["train"]
        own = [groups[group] for group, _, _ in read["rowGroups"]]
        stored = sum(group.column(c).total_compressed_size for _, group in own for c in range(5))
        # A reader looks for a footer in a file's last 64 KiB, which is all of these small files.
        footers = sum(min(files[f].stat().st_size, 65_536) for f in {f for f, _ in own})
        assert stored <= read["bytesRead"] <= stored + footers + 3_000  # and the counter itself


def test_the_model_is_as_good_as_plain_xgboost_on_all_rows(trained: Run) -> None:
    held_out = flights(ROWS // 4, seed=1)
    plain = xgb.train({"max_depth": 4, "eta": 0.2, "nthread": 1}, matrix(flights(ROWS)), 300)
    best = trained.result["bestRound"]
    ours = rmse(trained.booster().predict(matrix(held_out), iteration_range=(0, best)), held_out)
    theirs = rmse(plain.predict(matrix(held_out), iteration_range=(0, best)), held_out)
    assert ours == pytest.approx(theirs, rel=0.01)
    assert ours < 0.3 * np.std(held_out["arr_delay"].to_numpy())


def test_the_metrics_are_those_of_the_saved_model_on_all_rows(trained: Run) -> None:
    booster, best = trained.booster(), trained.result["bestRound"]
    assert booster.attr("best_iteration") == str(best - 1)
    for name, table in {
        "train": flights(ROWS),
        "eval": flights(ROWS // 4, seed=1),
        "tiny": flights(1, seed=5),
    }.items():
        reported = trained.result["metrics"][name]["rmse"]
        assert reported == pytest.approx(
            rmse(booster.predict(matrix(table), iteration_range=(0, best)), table), rel=1e-4
        )
        assert trained.finals[0].metrics[f"{name}-rmse"] == reported
    assert best == 1 + int(np.argmin(trained.history["eval-rmse"]))
    constant = float(np.mean(flights(ROWS)["arr_delay"].to_numpy()))
    assert trained.result["baseline"]["eval"]["rmse"] == pytest.approx(
        rmse(np.full(ROWS // 4, constant), flights(ROWS // 4, seed=1)), rel=1e-3
    )


def test_the_result_says_what_was_done(trained: Run) -> None:
    result = trained.result
    assert result["rows"] == {"train": ROWS, "eval": ROWS // 4, "tiny": 1}
    assert result["columns"]["categories"] == {"carrier": list(CARRIERS)}
    assert result["columns"]["features"] == ["carrier", "distance", "hour", "late"]
    assert result["job"] == {"uid": "uid-1", "namespace": "team-a", "name": "job", "attempt": 1}
    assert (result["worldSize"], result["rounds"], result["framework"]) == (2, 300, "xgboost")
    assert {"import", "plan", "rendezvous", "data", "boosting"} <= set(result["seconds"])
    attributes = trained.booster().attributes()
    assert json.loads(attributes["mlpools_data"]) == result["fingerprint"]
    assert json.loads(attributes["mlpools_columns"]) == result["columns"]


def test_the_status_tells_where_everything_is(trained: Run) -> None:
    final = trained.finals[0]
    for key, name in {
        "modelURL": "model.ubj",
        "metricsURL": "metrics.jsonl",
        "resultURL": "result.json",
    }.items():
        assert final.outputs[key] == f"file://{trained.output}/{name}"
        assert (trained.output / name).is_file()
    assert {path.name for path in (trained.output / "logs/attempt-1").iterdir()} == {
        "rank-0.log",
        "rank-1.log",
    }
    assert not list(trained.output.glob(".*"))
    assert final.step == 300
    assert {"Starting", "Data", "Rendezvous", "Working", "FirstStep"} <= set(final.seconds)


def test_a_stop_of_one_rank_saves_a_round_and_the_next_attempt_gives_the_same_model(
    trained: Run, data: dict[str, Any], tmp_path: Path
) -> None:
    """Without a periodic checkpoint: what is saved was agreed on after the signal.

    Only one worker hears of it, so the agreement is the rounds' own and not that of the supervisors.
    """
    work = task(tmp_path / "out", nodes=2, spec=SPEC, data=data)
    with Pods(work, tmp_path / "pods-1", gated(tmp_path / "go")) as pods:
        wait_for(lambda: pods[0].step() == GATE, what="a round")
        os.kill(pods[1].worker(), signal.SIGTERM)
        (tmp_path / "go").touch()
        first = pods.wait()
        assert [final.code for final in first] == [Exit.PREEMPTED] * 2, pods[0].output()
    saved = first[0].checkpoint_step
    assert GATE <= saved < 300
    assert not (tmp_path / "out/model.ubj").exists()
    again = task(tmp_path / "out", nodes=2, spec=SPEC, data=data, attempt=2)
    with Pods(again, tmp_path / "pods-2", late={0: 1.0}) as pods:  # rank 0's pod comes after the other
        second = pods.wait()
        assert [final.code for final in second] == [Exit.DONE] * 2, pods[0].output()
    assert (tmp_path / "out/model.ubj").read_bytes() == trained.model
    assert read_history(tmp_path / "out") == trained.history
    result = read_json(tmp_path / "out/result.json")
    assert result["resumedFromStep"] == saved
    assert all(result[key] == trained.result[key] for key in ("bestRound", "metrics"))


def test_a_killed_worker_ends_the_gang_and_the_next_attempt_resumes_with_fewer_ranks(
    data: dict[str, Any], tmp_path: Path
) -> None:
    long = spec(rounds=50_000)
    checkpoint = {"url": f"file://{tmp_path}/saved", "everyRounds": 10, "keep": 2}
    work = task(tmp_path / "out", nodes=3, spec=long, data=data, checkpoint=checkpoint)
    with Pods(work, tmp_path / "pods-1") as pods:
        report = wait_for(
            lambda: (r := pods[0].report()) and r.checkpoint_step >= 20 and r, what="a checkpoint"
        )
        os.kill(pods[1].worker(), signal.SIGKILL)
        finals = pods.wait()
    assert [final.code for final in finals] == [Exit.PEER_LOST, Exit.SIGNAL, Exit.PEER_LOST]
    assert all("ank 1" in final.message and "SIGKILL" in final.message for final in finals)
    kept = sorted(path.parent.name for path in (tmp_path / "saved").glob("uid-1/*/COMMIT"))
    assert 2 <= len(kept) <= 3, "rank 0 may have ended before it took away the oldest"
    newest = int(kept[-1].removeprefix("step-"))
    assert newest >= report.checkpoint_step
    short = spec(rounds=newest + 5)
    work = task(tmp_path / "out", nodes=1, attempt=2, spec=short, data=data, checkpoint=checkpoint)
    with Pods(work, tmp_path / "pods-2") as pods:
        [final] = pods.wait()
        assert final.code == Exit.DONE, pods[0].output()
    history = read_history(tmp_path / "out")["train-rmse"]
    assert len(history) == final.step == newest + 5
    assert history == sorted(history, reverse=True)


def test_the_death_of_rank_0_ends_the_gang_and_is_the_cause(data: dict[str, Any], tmp_path: Path) -> None:
    """Rank 0 holds the tracker and speaks for the job, and still the others say who died."""
    work = task(tmp_path / "out", nodes=2, spec=spec(rounds=50_000), data=data)
    with Pods(work, tmp_path / "pods") as pods:
        wait_for(lambda: pods[0].step() >= 3, what="rounds")
        os.kill(pods[0].worker(), signal.SIGKILL)
        finals = pods.wait()
    assert [final.code for final in finals] == [Exit.SIGNAL, Exit.PEER_LOST]
    assert all("ank 0" in final.message and "SIGKILL" in final.message for final in finals)


def test_a_stop_saves_the_last_round_even_if_a_rank_is_stuck(data: dict[str, Any], tmp_path: Path) -> None:
    """No boundary is agreed on any more, so rank 0 saves alone before the grace period is over."""
    work = task(tmp_path / "out", nodes=2, spec=spec(rounds=50_000), data=data, grace_period_seconds=10)
    with Pods(work, tmp_path / "pods") as pods:
        wait_for(lambda: pods[0].step() >= 5, what="rounds")
        os.kill(pods[1].worker(), signal.SIGSTOP)
        before = pods[0].step()
        pods[0].process.terminate()
        finals = pods.wait()  # the stuck rank would never end
    assert [final.code for final in finals] == [Exit.PREEMPTED] * 2
    assert finals[0].checkpoint_step >= 1
    assert f"round {finals[0].checkpoint_step}" in finals[0].message
    [commit] = (tmp_path / "out").glob("checkpoints/uid-1/*/COMMIT")
    assert int(commit.parent.name.removeprefix("step-")) == finals[0].checkpoint_step >= before / 4


def test_bad_data_ends_rank_0_with_the_cause_and_the_others_with_it(
    data: dict[str, Any], tmp_path: Path
) -> None:
    work = task(tmp_path / "out", nodes=2, spec=spec(label="arr_dely"), data=data)
    with Pods(work, tmp_path / "pods", held=frozenset({0})) as pods:
        wait_for(lambda: pods[0].report(), what="rank 1, for which rank 0 does not wait")
        pods.release({0})
        first, second = pods.wait()
    assert (first.code, second.code) == (Exit.DATA_NOT_READABLE, Exit.PEER_LOST)
    assert "Did you mean 'arr_delay'?" in first.message
    assert "Traceback" not in first.message + first.traceback
    assert first.message in second.message
    assert not (tmp_path / "out/model.ubj").exists()
