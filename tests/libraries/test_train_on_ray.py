"""Estimators whose workers are spread over a Ray cluster."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow.parquet as pq
import pytest
import ray

from mlpools.data import ArrowIngestor, DataConnector
from mlpools.errors import DataNotReadable, InvalidSpec, WorkerCrashed
from mlpools.train import (
    LightGBMEstimator,
    LightGBMScalingConfig,
    PyTorchDistributor,
    PyTorchScalingConfig,
    WorkerResourceConfig,
    XGBEstimator,
    XGBScalingConfig,
)
from mlpools.train.estimators.handing import plan_of
from mlpools.train.estimators.over_ray import stored
from mlpools.train.launchers.ray import launch
from tests.support.flights import flights, spec, write_flights
from tests.support.pods import Pods, task, wait_for
from tests.support.ray_nodes import two_nodes

ROWS = 2_000
PARAMS = {"max_depth": 4, "eta": 0.2}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with two_nodes():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_flights(tmp_path_factory.mktemp("flights"), ROWS)


def connector(data: dict[str, Any], name: str) -> DataConnector:
    return DataConnector.from_parquet(data[name]["parquet"]["url"])


def two_workers(**changes: Any) -> XGBEstimator:
    config = XGBScalingConfig(num_workers=2, num_cpu_per_worker=1)
    return XGBEstimator(20, params=PARAMS | changes, scaling_config=config)


def test_the_model_is_that_of_a_job_with_as_many_ranks(data: dict[str, Any], tmp_path: Path) -> None:
    work = task(tmp_path / "out", nodes=2, spec=spec(), data=data)
    with Pods(work, tmp_path / "pods") as pods:
        assert [final.code for final in pods.wait(90)] == [0, 0], pods[0].output()
    estimator = two_workers()
    booster = estimator.fit(connector(data, "train"), label_col="arr_delay", eval_set=connector(data, "eval"))
    assert bytes(booster.save_raw("ubj")) == (tmp_path / "out/model.ubj").read_bytes()
    assert list(estimator.get_eval_results()) == ["train", "eval"]


def test_lightgbm_s_workers_find_each_other_and_make_the_model_of_a_job(
    data: dict[str, Any], tmp_path: Path
) -> None:
    section = {"rounds": 10, "objective": "regression", "params": {"num_leaves": 15}, "label": "arr_delay"}
    work = task(tmp_path / "out", nodes=2, framework="lightgbm", spec=section, data=data)
    with Pods(work, tmp_path / "pods") as pods:
        assert [final.code for final in pods.wait(90)] == [0, 0], pods[0].output()
    config = LightGBMScalingConfig(num_workers=2, num_cpu_per_worker=1)
    estimator = LightGBMEstimator(10, params={"num_leaves": 15}, scaling_config=config)
    booster = estimator.fit(connector(data, "train"), label_col="arr_delay", eval_set=connector(data, "eval"))
    of_job = lgb.Booster(model_file=str(tmp_path / "out/model.txt"))
    assert booster.model_to_string() == of_job.model_to_string()
    held_out = flights(ROWS // 4, seed=1)
    error = estimator.predict(held_out)["prediction"].to_numpy() - held_out["arr_delay"].to_numpy()
    [curve] = estimator.get_eval_results()["eval"].values()
    assert np.mean(error**2) == pytest.approx(curve[-1], rel=1e-4)


def test_rows_in_memory_go_through_the_object_store() -> None:
    train, held_out = flights(ROWS), flights(ROWS // 4, seed=1)
    estimator = two_workers()
    estimator.fit(train, label_col="arr_delay", eval_set=held_out)
    assert estimator.get_eval_results()["eval"]["rmse"][-1] < 2
    predicted = estimator.predict(held_out)
    assert predicted.drop_columns(["prediction"]).equals(held_out)
    error = predicted["prediction"].to_numpy() - held_out["arr_delay"].to_numpy()
    assert np.sqrt(np.mean(error**2)) == pytest.approx(
        estimator.get_eval_results()["eval"]["rmse"][-1], rel=1e-4
    )


def test_rows_from_the_object_store_are_the_caller_s_file_on_every_node(tmp_path: Path) -> None:
    plan = plan_of(DataConnector.from_dataframe(flights(100)), tmp_path / "train", 2, ["hour"])
    shards = [stored(file) for file in plan.files]
    assert [shard.rank for shard in shards] == [0, 1]
    assert not any(shard.lay_down() for shard in shards)  # this is the caller's node
    shutil.rmtree(tmp_path / "train")  # and now another one
    assert all(shard.lay_down() for shard in shards)
    assert DataConnector(ArrowIngestor([], plan)).to_arrow().equals(flights(100).select(["hour"]))
    for shard in shards:
        shard.take_away()
    assert list(tmp_path.iterdir()) == []


def test_workers_are_spread_over_the_nodes(data: dict[str, Any]) -> None:
    estimator = XGBEstimator(2, params=PARAMS)
    estimator.fit(connector(data, "train"), label_col="arr_delay")
    places = launch(lambda place: place, 2, {"CPU": 2})
    assert [(place.node_rank, place.local_rank, place.local_world_size) for place in places] == [
        (0, 0, 1),
        (1, 0, 1),
    ]


def test_a_program_of_pytorch_has_as_many_workers_on_each_node_and_knows_its_neighbours(
    tmp_path: Path,
) -> None:
    def tell() -> None:
        from mlpools.train.pytorch import get_context

        it = get_context()
        told = [it.get_node_rank(), it.get_local_rank(), it.get_local_world_size(), it.get_world_size()]
        it.get_artifact_manager().upload(told, str(it.get_rank()))

    of_two = PyTorchScalingConfig(2, 2, WorkerResourceConfig(num_cpus=1))
    PyTorchDistributor(tell, of_two).run(artifact_stage_location=str(tmp_path))
    found = [pickle.loads(next(tmp_path.glob(f"*/artifacts/{rank}")).read_bytes()) for rank in range(4)]
    assert found == [[0, 0, 2, 4], [0, 1, 2, 4], [1, 0, 2, 4], [1, 1, 2, 4]]
    with pytest.raises(InvalidSpec, match=r"3 worker\(s\) of 1 CPU, 1 on each of 3 node\(s\), do not fit"):
        PyTorchDistributor(tell, PyTorchScalingConfig(3, 1, WorkerResourceConfig(num_cpus=1))).run()


def test_a_file_that_a_node_does_not_see_is_named_before_anything_starts(tmp_path: Path) -> None:
    pq.write_table(flights(100), tmp_path / "only-here.parquet")
    rows = DataConnector.from_parquet(str(tmp_path / "only-here.parquet"))
    (tmp_path / "only-here.parquet").unlink()  # as on another machine
    with pytest.raises(DataNotReadable, match=r"^Rank \d: \S+/only-here\.parquet is not on node \S+ as"):
        two_workers().fit(rows, label_col="arr_delay")


def test_a_killed_rank_ends_the_training_and_is_named(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # by which the processes are found
    saved = tmp_path / "saved"

    def kill_a_worker() -> None:
        wait_for(lambda: list(saved.glob("*/*/COMMIT")), 90, "a checkpoint")
        os.kill(workers(tmp_path)[1], signal.SIGKILL)

    thread = threading.Thread(target=kill_a_worker)
    thread.start()
    with pytest.raises(WorkerCrashed, match=r"The process of rank \d was killed by SIGKILL"):
        two_workers(n_estimators=1_000_000).fit(
            connector(data, "train"), label_col="arr_delay", checkpoint_url=f"file://{saved}"
        )
    thread.join()
    assert not workers(tmp_path)
    assert [path for path in tmp_path.iterdir() if path != saved] == []


def workers(folder: Path) -> list[int]:
    """Return the processes of workers whose files are in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            ours = entry.name.isdigit() and str(folder).encode() in (entry / "environ").read_bytes()
            if ours and b"mlpools.runtime" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # ended meanwhile
            continue
    return sorted(found)


def test_a_failing_rank_tells_its_cause_and_leaves_nothing(data: dict[str, Any]) -> None:
    with pytest.raises(DataNotReadable, match=r"^Rank 0: .*arr_dely.*Did you mean 'arr_delay'\?"):
        two_workers().fit(connector(data, "train"), label_col="arr_dely")
    wait_for(lambda: ray.available_resources().get("CPU") == 4, what="the return of what was reserved")


def test_a_gpu_that_no_node_has_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="No node of this Ray cluster has a GPU"):
        XGBEstimator(2, scaling_config=XGBScalingConfig(use_gpu=True)).fit(flights(10), label_col="arr_delay")
