"""Models of a caller on their way to the workers, and what is refused before any of these starts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.inference import (
    BatchResult,
    InferenceSpec,
    InputSpec,
    ModelSpec,
    OutputSpec,
    ResourcesSpec,
    SaveMode,
    run_batch,
)
from mlpools.inference.handed import handed
from mlpools.inference.models import Given, load

X = np.random.default_rng(0).random((200, 2))
ROWS = pa.table({"a": X[:, 0], "b": X[:, 1]})


def predictions(model: Any, path: Path, features: tuple[str, ...] = ()) -> Any:
    """Do what a worker does with a model that was handed to it."""
    given = handed(model)
    path.write_bytes(given.content)
    [found, *_] = load(Given(given.spec, path, ROWS.schema, features, threads=1)).predict(ROWS).values()
    return found.to_numpy()


def test_a_lightgbm_booster_is_its_model_file(tmp_path: Path) -> None:
    data = lgb.Dataset(X, X[:, 0], feature_name=["a", "b"])
    booster = lgb.train({"num_threads": 1, "verbose": -1}, data, 3)
    assert np.allclose(predictions(booster, tmp_path / "model"), booster.predict(X))


def test_an_estimator_and_a_function_come_by_value(tmp_path: Path) -> None:
    estimator = LinearRegression().fit(X, X[:, 0])
    assert np.allclose(predictions(estimator, tmp_path / "model", ("a", "b")), X[:, 0])
    factor = 3
    assert np.allclose(predictions(lambda batch: batch["b"] * factor, tmp_path / "model"), X[:, 1] * 3)


def test_an_object_with_predict_comes_as_it_is(tmp_path: Path) -> None:
    class Shift:
        def __init__(self, by: float) -> None:
            self.by = by

        def predict(self, batch: Any) -> Any:
            return batch["a"] + self.by

    assert np.allclose(predictions(Shift(2.0), tmp_path / "model"), X[:, 0] + 2)


def test_a_path_becomes_absolute_and_a_url_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert handed("model.ubj").spec.url == f"{tmp_path}/model.ubj"
    assert handed(ModelSpec("s3://b/m", framework="onnx")).spec == ModelSpec("s3://b/m", framework="onnx")


class Module:
    __module__ = "torch.nn.modules.module"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Module(), r"save it with torch\.export"),
        (3, "A int cannot predict: give a URL, a booster"),
        (threading.Lock().__enter__, "The model cannot be sent to other processes"),
    ],
)
def test_what_cannot_be_sent_is_said(model: Any, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        handed(model)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input_spec": InputSpec(features=["a", "a"])}, "feature 'a' is listed twice"),
        ({"inference_spec": InferenceSpec(max_batch_rows=0)}, "batchRows is 0"),
        ({"inference_spec": InferenceSpec(num_workers=0)}, "num_workers must be 1 or more"),
        ({"output_spec": OutputSpec("/out", format="xlsx")}, "output.format is 'xlsx'"),
        ({"model": ModelSpec("/m", device="cuda")}, "device is cuda, but gpu_requests is 0"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_starts(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        run_batch(**{"model": "/m", "X": ROWS, "output_spec": "/out", **given})


def test_a_worker_uses_one_gpu() -> None:
    with pytest.raises(InvalidSpec, match="gpu_requests must be 0 or 1, not 2"):
        ResourcesSpec(gpu_requests=2)


def test_modes_are_those_of_a_manifest() -> None:
    assert [str(mode) for mode in SaveMode] == ["Error", "Overwrite", "Resume"]


def test_what_is_not_finished_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "part-000000.parquet").touch()
    with pytest.raises(DataNotReadable, match=r"_manifest\.json"):
        BatchResult.at(str(tmp_path))
