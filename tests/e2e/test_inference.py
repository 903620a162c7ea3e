"""Batch inference on real kubelets: every flight is scored once, whatever becomes of the pods."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from mlpools.data.writers import commit
from mlpools.storage import locate
from tests.e2e.test_data_sources import make_secret
from tests.e2e.test_faults import KILL
from tests.support.inferring import SMALL, Inference, digests, on_path, rows_of, single_process
from tests.support.s3_server import S3Server
from tests.support.store_environment import use_store
from tests.support.training import Training
from tools.kubectl import Kubectl
from tools.quickstart import data
from tools.quickstart.follow import condition

#: A model that is code alone, and fails on flights of a distance for as long as the volume names it.
BY_HAND = """
import pathlib

import pyarrow.compute as pc


class Scorer:
    def load(self):
        self.poison = pathlib.Path("/data/poison")

    def predict(self, rows):
        if self.poison.exists():
            bad = int(self.poison.read_text())
            if pc.any(pc.equal(rows.column("distance"), bad)).as_py():
                raise ValueError(f"nobody flies {bad} miles")
        return pc.divide(pc.cast(rows.column("distance"), "float64"), 8.0)
"""


@pytest.fixture(scope="module")
def model(cluster: Kubectl, volume: Path) -> Iterator[Path]:
    """A model of the quickstart's TrainingJob, with fewer rounds, as a file of this machine."""
    maker = Training(cluster, volume)
    params = {"max_depth": 8, "eta": 0.1}
    maker.submit("scorer", xgboost={"rounds": 30, "label": "arr_delay", "params": params})
    maker.completed("scorer")
    yield maker.output("scorer") / "model.ubj"
    maker.remove()


@pytest.fixture
def inference(cluster: Kubectl, volume: Path, model: Path) -> Iterator[Inference]:
    maker = Inference(cluster, volume)
    yield maker
    maker.remove()


@pytest.fixture(scope="module")
def alone(model: Path, volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a single process of this machine."""
    spec = {"model": {"url": str(model)}, **SMALL, "batchRows": 1000}
    return single_process(tmp_path_factory.mktemp("alone"), spec, volume / "flights" / "train", environ={})


def kill(inference: Inference, name: str, rank: int) -> None:
    """Kill the worker of a rank, as the kernel does when memory is short."""
    inference.cluster.run("exec", inference.pod(name, rank), "-c", "main", "--", "python", "-c", KILL)


def evict(inference: Inference, name: str, rank: int) -> None:
    """Delete a rank's pod without asking it."""
    inference.cluster.run(
        "delete", "pod", inference.pod(name, rank), "--grace-period=0", "--force", "--wait=false"
    )


@pytest.fixture(scope="module")
def store(outside: str, tmp_path_factory: pytest.TempPathFactory, volume: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3"), outside) as server:
        shutil.copytree(volume / "flights" / "train", server.make_bucket("flights") / "train")
        server.make_bucket("scores")
        yield server


@pytest.mark.e2e(seconds=90)
def test_lost_pods_cost_no_flight_and_double_none(inference: Inference, flights: data.Flights) -> None:
    inference.submit("scores", restartBackoffSeconds=1)
    inference.scores("scores", percent=5)
    evict(inference, "scores", 1)
    inference.scores("scores", percent=30)
    kill(inference, "scores", 0)
    status = inference.completed("scores")
    assert status["attempt"] == 2, status
    assert status["rows"] == {"total": flights.train_rows, "done": flights.train_rows, "failed": 0}
    target = locate(inference.output("scores"))
    digests(target)
    given = pq.read_table(inference.volume / "flights" / "train").to_pandas()
    booster = xgb.Booster(model_file=inference.output("scorer") / "model.ubj")
    rows = rows_of(target)
    assert rows.column("arr_delay").to_numpy().tolist() == given["arr_delay"].tolist()
    predicted = booster.predict(xgb.DMatrix(given.drop(columns="arr_delay"), enable_categorical=True))
    assert np.array_equal(rows.column("prediction").to_numpy(), predicted)


@pytest.mark.full
@pytest.mark.e2e(seconds=90)
def test_a_suspended_inference_keeps_what_is_done_and_does_the_rest(
    inference: Inference, cluster: Kubectl, alone: Path
) -> None:
    inference.submit("rests")
    inference.scores("rests", percent=10)
    inference.change("rests", suspend=True)
    inference.until("rests", phase="Suspended", seconds=60)
    assert inference.at_work("rests") == []
    output = inference.output("rests")
    before = {path.name: path.stat().st_ino for path in output.glob("part-*")}
    assert before
    assert not (output / commit.SUCCESS).exists()
    inference.change("rests", suspend=False)
    status = inference.completed("rests")
    assert (status["attempt"], status["restarts"]) == (2, 0), status
    assert digests(locate(output)) == digests(locate(alone))
    assert before.items() <= {path.name: path.stat().st_ino for path in output.glob("part-*")}.items()


@pytest.mark.full
@pytest.mark.e2e(seconds=120)
def test_pods_that_are_lost_cost_no_row_in_an_object_store(
    inference: Inference,
    store: S3Server,
    alone: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    make_secret(inference.cluster, "scores-store", store.environment())
    inference.submit(
        "remote",
        input={"parquet": {"url": "s3://flights/train/*.parquet"}},
        output={"url": "s3://scores/remote", "keep": ["arr_delay"]},
        envFrom=[{"secretRef": {"name": "scores-store"}}],
        restartBackoffSeconds=1,
    )
    inference.scores("remote", percent=5)
    kill(inference, "remote", 1)
    inference.scores("remote", percent=20)
    evict(inference, "remote", 1)
    inference.scores("remote", percent=40)
    evict(inference, "remote", 0)
    status = inference.completed("remote")
    assert status["attempt"] == 2, status
    assert not condition(status, "WeakCommit"), status
    use_store(store, monkeypatch, tmp_path, patience=20)
    assert digests(locate("s3://scores/remote")) == digests(locate(alone))


@pytest.mark.full
@pytest.mark.e2e(seconds=90)
def test_a_bad_row_costs_its_shard_and_a_second_apply_does_only_that(
    inference: Inference, volume: Path, tmp_path: Path
) -> None:
    inference.code("by-hand", "by_hand.py", BY_HAND)
    model = {
        "framework": "python",
        "entrypoint": "by_hand:Scorer",
        "params": {"batchFormat": "arrow"},
        "code": {"configMap": "by-hand"},
    }
    distances = pq.read_table(volume / "flights" / "train", columns=["distance"]).column("distance")
    rare = int(min(Counter(distances.to_pylist()).items(), key=lambda it: it[1])[0])
    (volume / "poison").write_text(str(rare))
    bulk = {"shardRows": 10_000, "batchRows": 5000}
    inference.submit("poisoned", model=model, **bulk)
    failed = inference.failure("poisoned")
    assert failed["reason"] == "ShardsFailed", failed
    assert f"ValueError: nobody flies {rare} miles" in failed["message"]
    assert failed["message"].endswith("output.mode Resume does only the shards that failed."), failed
    output = inference.output("poisoned")
    assert not (output / commit.SUCCESS).exists()
    errors = [json.loads(line) for line in (output / "_errors.jsonl").read_text().splitlines()]
    assert {"shard", "file", "row", "error"} == set(errors[0])
    before = {path.name: path.stat().st_ino for path in output.glob("part-*")}
    status = inference.status("poisoned")
    assert len(before) == status["shards"]["done"] == status["shards"]["total"] - len(errors)

    (volume / "poison").unlink()
    again = {"url": "file:///data/models/poisoned", "keep": ["arr_delay"], "mode": "Resume"}
    inference.submit("mended", model=model, output=again, **bulk)
    inference.completed("mended")
    after = {path.name: path.stat().st_ino for path in output.glob("part-*")}
    assert before.items() <= after.items()
    assert len(after) == len(before) + len(errors)
    (tmp_path / "by_hand.py").write_text(BY_HAND)
    spec = {"model": {name: it for name, it in model.items() if name != "code"}, **bulk}
    alone = single_process(tmp_path, spec, volume / "flights" / "train", environ=on_path(tmp_path))
    assert digests(locate(output)) == digests(locate(alone))


@pytest.mark.full
@pytest.mark.e2e(seconds=60)
def test_a_full_volume_is_told_and_leaves_nothing_that_looks_complete(
    inference: Inference, volume: Path
) -> None:
    small = {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    flights = {"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}
    inference.submit(
        "full",
        nodes=1,
        volumes=[flights, small],
        volumeMounts=[{"name": "data", "mountPath": "/data"}, {"name": "small", "mountPath": "/small"}],
        output={"url": "file:///small/out", "keep": ["*"]},
        maxRestarts=0,
    )
    failed = inference.failure("full")
    assert failed["reason"] == "RestartsExhausted", failed
    assert failed["message"].startswith("OutputNotWritable: rank 0"), failed
    assert "No space left on device" in failed["message"]
