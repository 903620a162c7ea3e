"""One rank in this process: early stopping, checkpoints, parameters, and what is refused."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

import mlpools.train.trees.data as trainer
from mlpools.contract.ends import REASONS, Exit
from mlpools.errors import (
    BadHyperParameter,
    CheckpointMismatch,
    DataNotReadable,
    InvalidSpec,
    JobError,
    OutputExists,
    OutputNotWritable,
    Preempted,
)
from mlpools.gang import Gang
from mlpools.runtime.frameworks import load
from mlpools.runtime.launch import work
from mlpools.storage import local
from mlpools.train.job import Job
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from tests.support.flights import flights, spec, write_flights
from tests.support.one_rank import OneRank
from tests.support.pods import read_history, read_json, task


@pytest.fixture
def here(tmp_path: Path) -> OneRank:
    return OneRank(tmp_path)


def output(here: OneRank, mode: str = "Error") -> dict[str, str]:
    return {"url": str(here.output), "mode": mode}


def test_early_stopping_remembers_the_best_round(here: OneRank) -> None:
    final = here.run(spec=spec(rounds=500, earlyStoppingRounds=5, params={"eta": 0.5, "max_depth": 5}))
    result, curve = read_json(here.output / "result.json"), read_history(here.output)["eval-rmse"]
    assert result["bestRound"] == curve.index(min(curve)) + 1
    assert result["rounds"] == final.step == result["bestRound"] + 5 < 500
    assert final.metrics["eval-rmse"] == min(curve)


def test_the_importance_is_that_of_the_rounds_that_count(here: OneRank) -> None:
    here.run(spec=spec(rounds=500, earlyStoppingRounds=5, params={"eta": 0.5, "max_depth": 5}))
    best = read_json(here.output / "result.json")["bestRound"]
    with (here.output / "importance.csv").open() as file:
        rows = {row["feature"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"carrier", "distance", "hour", "late"}
    trees = xgb.Booster(model_file=here.output / "model.ubj").get_dump(with_stats=True, dump_format="json")
    gains: dict[str, list[float]] = {}

    def walk(node: dict[str, Any]) -> None:
        if "split" in node:
            gains.setdefault(node["split"], []).append(node["gain"])
            for child in node["children"]:
                walk(child)

    for tree in trees[:best]:
        walk(json.loads(tree))
    for name, row in rows.items():
        assert int(row["splits"]) == len(gains[name])
        assert float(row["gain"]) == pytest.approx(sum(gains[name]), rel=1e-4)
    assert list(rows) == sorted(gains, key=lambda name: -sum(gains[name]))


def test_the_result_names_parameters_seed_and_versions(here: OneRank) -> None:
    here.run(spec=spec(params={"max_depth": 3, "seed": 7, "subsample": 0.5}))
    result = read_json(here.output / "result.json")
    assert result["parameters"]["params"] == {"max_depth": 3, "seed": 7, "subsample": 0.5}
    assert (result["seed"], result["steps"]) == (7, 20)
    assert result["versions"]["xgboost"] == xgb.__version__
    assert {"python", "mlpools", "numpy", "pyarrow"} <= set(result["versions"])
    assert result["output"] == ["importance.csv", "learning_curve.png", "metrics.jsonl", "model.ubj"]


@pytest.mark.parametrize("stop_at", [1, 8, 11])
def test_a_stop_anywhere_gives_the_same_model_and_the_same_early_stop(
    here: OneRank, tmp_path: Path, stop_at: int
) -> None:
    stopping = spec(rounds=500, earlyStoppingRounds=5, params={"eta": 0.5, "max_depth": 5})
    here.run(spec=stopping)
    other = OneRank(tmp_path / "other")
    with pytest.raises(Preempted, match=f"after round {stop_at}"):
        other.run(stop_at, spec=stopping)
    other.run(spec=stopping, attempt=2)
    assert other.model() == here.model()
    for name in ("metrics.jsonl", "importance.csv", "learning_curve.png"):
        assert (other.output / name).read_bytes() == (here.output / name).read_bytes()


def test_a_metric_where_higher_is_better_stops_at_the_highest(here: OneRank) -> None:
    table = flights(600)
    label = pa.array([1 if delay > 15 else 0 for delay in table["arr_delay"].to_pylist()])
    path = here.folder / "binary.parquet"
    pq.write_table(table.set_column(4, "arr_delay", label), path)
    source = {"parquet": {"url": str(path)}}
    here.run(
        data={"train": source, "eval": source},
        spec=spec(
            objective="binary:logistic", evalMetrics=["logloss", "auc"], earlyStoppingRounds=3, rounds=60
        ),
    )
    result, curve = read_json(here.output / "result.json"), read_history(here.output)["eval-auc"]
    assert curve[result["bestRound"] - 1] == max(curve)
    assert set(result["metrics"]["eval"]) == {"logloss", "auc"}


def test_checkpoints_come_every_so_many_rounds_and_two_are_kept(here: OneRank) -> None:
    final = here.run(checkpoint={"url": str(here.folder / "saved"), "everyRounds": 6, "keep": 2})
    assert sorted(path.name for path in (here.folder / "saved/uid-1").iterdir()) == [
        "step-000000012",
        "step-000000018",
    ]
    assert final.checkpoint_step == 18


def test_a_damaged_checkpoint_is_passed_over_and_said(
    here: OneRank, capfd: pytest.CaptureFixture[str]
) -> None:
    where = {"url": str(here.folder / "saved"), "everyRounds": 5, "keep": 3}
    with pytest.raises(Preempted):
        here.run(12, checkpoint=where)
    newest = here.folder / "saved/uid-1/step-000000012/model"
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    (here.folder / "saved/uid-1/step-000000010/COMMIT").unlink()
    with pytest.raises(Preempted, match="after round 7,"):
        here.run(7, checkpoint=where)
    assert f"The checkpoint {newest.parent} is passed over" in capfd.readouterr().out
    here.run(checkpoint=where)
    [said] = read_json(here.output / "result.json")["checkpointsPassedOver"]
    assert said == f"{newest.parent}: it is damaged"


def test_changed_data_starts_over(here: OneRank) -> None:
    with pytest.raises(Preempted):
        here.run(12)
    here.data = write_flights(here.folder / "in", 1_200)
    with pytest.raises(Preempted, match="after round 2"):
        here.run(2)


def test_another_jobs_checkpoint_is_used_only_on_request_and_if_it_fits(here: OneRank) -> None:
    with pytest.raises(Preempted):
        here.run(9)
    more = spec(params={"max_depth": 6, "eta": 0.2})
    with pytest.raises(CheckpointMismatch, match=r'params was .*"max_depth": 4.* and is .*"max_depth": 6'):
        here.run(uid="uid-2", output=output(here, "Resume"), spec=more)
    with pytest.raises(Preempted, match="after round 11,"):
        here.run(11, uid="uid-3", output=output(here, "Resume"))
    with pytest.raises(Preempted, match="after round 2,"):
        here.run(2, uid="uid-4", output=output(here, "Overwrite"))


def test_a_damaged_checkpoint_of_another_job_is_passed_over_and_said(here: OneRank) -> None:
    where = {"url": str(here.folder / "saved"), "everyRounds": 5, "keep": 3}
    with pytest.raises(Preempted):
        here.run(12, checkpoint=where)
    newest = here.folder / "saved/uid-1/step-000000012/model"
    newest.write_bytes(b"?")
    here.run(uid="uid-2", output=output(here, "Resume"), checkpoint=where)
    result = read_json(here.output / "result.json")
    assert result["checkpointsPassedOver"] == [f"{newest.parent}: it is damaged"]
    assert result["resumedFromStep"] == 10


def test_the_result_of_another_run_is_not_touched(here: OneRank) -> None:
    here.run()
    before = {path: path.read_bytes() for path in here.output.rglob("*") if path.is_file()}
    with pytest.raises(OutputExists, match="holds the result of team-a/job already"):
        here.run(uid="uid-2", data={"train": {"parquet": {"url": "/never/read"}}})
    assert {path: path.read_bytes() for path in here.output.rglob("*") if path.is_file()} == before


def test_files_of_nobody_are_not_touched_either(here: OneRank) -> None:
    here.output.mkdir()
    (here.output / "model.ubj").write_bytes(b"precious")
    with pytest.raises(OutputExists, match=r"holds a model\.ubj"):
        here.run()


def test_overwrite_replaces_the_old_result_only_when_the_new_one_is_there(here: OneRank) -> None:
    here.run()
    old = here.model()
    with pytest.raises(DataNotReadable):
        here.run(uid="uid-2", output=output(here, "Overwrite"), spec=spec(label="nothing"))
    assert here.model() == old
    here.run(uid="uid-2", output=output(here, "Overwrite"), spec=spec(rounds=3))
    assert here.model() != old
    assert read_json(here.output / "result.json")["job"]["uid"] == "uid-2"


def test_an_attempt_after_the_commit_only_reports_it(here: OneRank) -> None:
    first = here.run()
    written = (here.output / "result.json").stat().st_mtime_ns
    second = here.run(attempt=2, data={"train": {"parquet": {"url": "/gone/since"}}})
    assert (second.code, second.metrics, second.step) == (Exit.DONE, first.metrics, 20)
    assert (here.output / "result.json").stat().st_mtime_ns == written


def test_data_that_does_not_fit_into_memory_gives_the_same_model(
    here: OneRank, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.run()
    model = here.model()
    monkeypatch.setattr(trainer, "_DECODED_SHARE", -1.0)
    monkeypatch.setattr(trainer.budgets, "memory", lambda workers=1: (1 << 30) // workers)
    here.run(uid="uid-2", output=output(here, "Overwrite"))
    assert here.model() == model
    [rank] = read_json(here.output / "result.json")["ranks"]
    size = sum(path.stat().st_size for path in (here.folder / "in/train").iterdir())
    assert rank["data"]["train"]["bytesRead"] > 3 * size


def test_the_number_of_bins_can_be_chosen(here: OneRank) -> None:
    here.run(spec=spec(params={"max_bin": 4}))
    coarse = here.model()
    here.run(uid="uid-2", output=output(here, "Overwrite"), spec=spec(params={"max_bin": 64}))
    assert here.model() != coarse


def test_weights_count(here: OneRank) -> None:
    table = flights(400).append_column("w", pa.array([2.0] * 400))
    pq.write_table(table, here.folder / "weighted.parquet")
    here.run(
        data={"train": {"parquet": {"url": str(here.folder / "weighted.parquet")}}}, spec=spec(weight="w")
    )
    model = here.model()
    booster = xgb.Booster()
    booster.load_model(bytearray(model))
    assert json.loads(booster.get_dump(with_stats=True, dump_format="json")[0])["cover"] == 800


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"max_dept": 3}, "does not know the parameter 'max_dept'. Did you mean 'max_depth'"),
        ({"max_depth": -1}, "value -1 for Parameter max_depth"),
        ({"eta": "fast"}, "XGBoost refuses the parameter 'eta'"),
        ({"tree_method": "exact"}, "tree_method must be hist"),
        ({"booster": "gblinear"}, "booster must be"),
        ({"process_type": "update"}, "'process_type' cannot be set"),
        ({"updater": "refresh"}, "'updater' cannot be set"),
        ({"max_bin": 1}, "XGBoost refuses the parameter 'max_bin'"),
        ({"objective": "rank:ndcg"}, "'rank:ndcg' ranks within groups: set groupColumn"),
        ({"objective": "reg:logisti"}, "no objective 'reg:logisti'. Did you mean 'reg:logistic'"),
        ({"eval_metric": ["rmse", "rsme"]}, "no metric 'rsme'. Did you mean 'rmse"),
        ({"device": "cuda"}, "asks for a GPU"),
    ],
)
def test_bad_parameters_are_named(here: OneRank, params: dict[str, Any], words: str) -> None:
    with pytest.raises(BadHyperParameter, match=words) as caught:
        here.run(spec=spec(params=params))
    assert caught.value.code == Exit.BAD_HYPER_PARAMETER
    assert "\n" not in str(caught.value)
    assert "/workspace" not in str(caught.value)


def test_early_stopping_without_a_second_set_is_refused(here: OneRank) -> None:
    with pytest.raises(InvalidSpec, match=r"needs a second data set.*data\.eval"):
        here.run(spec=spec(earlyStoppingRounds=3), data={"train": here.data["train"]})


def test_labels_that_an_objective_cannot_take_are_a_matter_of_the_data(here: OneRank) -> None:
    with pytest.raises(DataNotReadable, match=r"'arr_delay' has values from .* binary:logistic takes 0 to 1"):
        here.run(spec=spec(objective="binary:logistic"))


def test_an_empty_label_is_told_with_its_file(here: OneRank) -> None:
    path = here.folder / "in/train/1.parquet"
    table = pq.read_table(path)
    holes = pa.array([None, *table["arr_delay"].to_pylist()[1:]])
    pq.write_table(table.set_column(4, "arr_delay", holes), path, row_group_size=250)
    words = r"The data 'train', file 1\.parquet: the label column 'arr_delay' has 1 empty values; remove"
    with pytest.raises(DataNotReadable, match=words):
        here.run()


def test_what_xgboost_cannot_take_is_a_matter_of_the_data(here: OneRank) -> None:
    def train(**columns: list[float]) -> None:
        pq.write_table(pa.table({**columns, "arr_delay": [1.0, 2.0]}), here.folder / "odd.parquet")
        here.run(data={"train": {"parquet": {"url": str(here.folder / "odd.parquet")}}})

    with pytest.raises(DataNotReadable, match="inf"):
        train(x=[1.0, float("inf")])
    with pytest.raises(DataNotReadable, match=r"refuses the columns: .*feature_names"):
        train(**{"x[0]": [1.0, 2.0]})


def test_the_log_tells_a_person_how_far_it_is(here: OneRank, capfd: pytest.CaptureOneRank[str]) -> None:
    here.run()
    assert "mlpools: round 20 of 20, train-rmse" in capfd.readouterr().out


def test_fewer_rows_than_ranks_are_refused_before_the_gang_meets(here: OneRank) -> None:
    path = here.folder / "two.parquet"
    pq.write_table(flights(2), path)
    job = Job(
        task(here.output, nodes=3, spec=spec(), data={"train": {"parquet": {"url": str(path)}}}),
        Gang(rank=0, world_size=3),
        Reporter(),
        Stop(60),
    )
    with pytest.raises(DataNotReadable, match=r"2 row\(s\) for 3 ranks"):
        work(job)


def test_an_output_that_cannot_be_written_is_said(here: OneRank) -> None:
    here.output.write_text("a file")
    with pytest.raises(OutputNotWritable, match=r"/out/owner\.json cannot be read: Not a directory"):
        here.run()
    with pytest.raises(InvalidSpec, match="ftp:// is no storage that can be used"):
        here.run(output={"url": "ftp://bucket/out"})


@pytest.mark.parametrize(
    ("full", "words"),
    [
        (
            "model.ubj",
            r"/out/model\.ubj cannot be written: No space left on device\. Mount a volume .* space",
        ),
        (
            "COMMIT",
            r"/saved/uid-1/.*/COMMIT cannot be written: No space left on device\. Mount a volume .* space",
        ),
    ],
)
def test_a_disk_that_is_full_later_is_no_fault_of_the_spec(
    here: OneRank, monkeypatch: pytest.MonkeyPatch, full: str, words: str
) -> None:
    write = local.write

    def fill(path: Path, data: bytes, *, once: bool = False) -> None:
        if path.name == full and (full == "COMMIT" or path.parent == here.output):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data, once=once)

    monkeypatch.setattr(local, "write", fill)
    with pytest.raises(OutputNotWritable, match=words) as caught:
        here.run(checkpoint={"url": str(here.folder / "saved"), "everyRounds": 5, "keep": 2})
    assert caught.value.code == Exit.OUTPUT_NOT_WRITABLE
    assert not (here.output / "result.json").exists(), "where it is, all other files are complete"
    monkeypatch.undo()
    assert here.run(attempt=2, checkpoint={"url": str(here.folder / "saved"), "keep": 2}).step == 20


def test_an_unknown_framework_is_said() -> None:
    with pytest.raises(InvalidSpec, match=r"no framework 'xgbost'\. Did you mean 'xgboost'"):
        load("xgbost")


def test_every_failure_has_a_code_of_its_own_reason() -> None:
    kinds = [kind for kind in JobError.__subclasses__() if kind.__module__ == "mlpools.errors"]
    assert kinds
    assert {kind.__name__: REASONS[kind.code] for kind in kinds} == {
        kind.__name__: kind.__name__ for kind in kinds
    }
