"""``run_batch`` on this machine: the files of a job, from models and rows of many forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from sklearn.linear_model import LogisticRegression

from mlpools.data import DataConnector
from mlpools.data.writers import commit
from mlpools.errors import (
    DataNotReadable,
    ModelMismatch,
    ModelUnreadable,
    OutputExists,
    ShardsFailed,
    UserCodeError,
)
from mlpools.inference import BatchResult, InferenceSpec, InputSpec, OutputSpec, SaveMode, run_batch
from mlpools.storage import locate

X = np.random.default_rng(0).random((300, 2)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(int)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")


@pytest.fixture
def rows(tmp_path: Path) -> str:
    (tmp_path / "in").mkdir()
    for i in range(3):
        part = pa.table(
            {"id": range(100 * i, 100 * i + 100), "a": X[100 * i :][:100, 0], "b": X[100 * i :][:100, 1]}
        )
        pq.write_table(part, tmp_path / f"in/{i}.parquet", row_group_size=25)
    return str(tmp_path / "in")


def booster() -> xgb.Booster:
    return xgb.train({"nthread": 1, "max_depth": 2}, xgb.DMatrix(X, Y, feature_names=["a", "b"]), 5)


def test_a_model_file_scores_files_with_two_workers(rows: str, tmp_path: Path) -> None:
    booster().save_model(tmp_path / "model.ubj")
    result = run_batch(
        tmp_path / "model.ubj",
        rows,
        OutputSpec(str(tmp_path / "out"), keep=("id",)),
        inference_spec=InferenceSpec(num_workers=2, shard_rows=50, max_batch_rows=20),
    )
    assert (result.rows, result.rows_failed, result.shards, result.shards_failed) == (300, 0, 6, 0)
    assert (result.partial, result.failed) == ("", ())
    target = locate(tmp_path / "out")
    commit.verify(target, commit.read_manifest(target))
    table = result.to_connector().to_arrow()
    assert table.column("id").to_pylist() == list(range(300))
    assert np.array_equal(table.column("prediction"), booster().inplace_predict(X))
    assert BatchResult.at(str(tmp_path / "out")) == result

    with pytest.raises(OutputExists, match="is not empty: it holds the output of python/run_batch"):
        run_batch(tmp_path / "model.ubj", rows, str(tmp_path / "out"))


def test_objects_in_memory_score_rows_in_memory(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    scored = run_batch(booster(), frame, str(tmp_path / "boosted")).to_connector().to_arrow()
    assert np.array_equal(scored.column("prediction"), booster().inplace_predict(X))

    estimator = LogisticRegression().fit(frame, Y)
    output = OutputSpec(str(tmp_path / "estimated"), format="arrow", prediction_column="late")
    scored = run_batch(estimator, frame, output).to_connector().to_arrow()
    assert scored.column_names == ["late", "late_probability"]
    assert np.array_equal(scored.column("late"), estimator.predict(frame))
    assert capfd.readouterr().out == ""


class Adds:
    """What is made once a worker."""

    def load(self) -> None:
        self.more = 10

    def predict(self, batch: pa.Table) -> dict[str, Any]:
        return {"sum": [a + b + self.more for a, b in zip(*batch.to_pydict().values(), strict=True)]}


def test_a_class_gets_the_columns_that_were_asked_for(rows: str, tmp_path: Path) -> None:
    result = run_batch(
        Adds,
        DataConnector.from_parquet(rows),
        str(tmp_path / "out"),
        input_spec=InputSpec(features=["b", "a"], batch_format="arrow"),
    )
    found = result.to_connector().to_arrow().column("sum").to_numpy()
    assert np.allclose(found, X.astype(np.float64).sum(axis=1) + 10)


def test_files_are_rows_and_a_prediction_has_its_file(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "texts" / name).write_text(name * 3)
    files = DataConnector.from_binary_files(str(tmp_path / "texts"), include_paths=True)
    how = InferenceSpec(shard_rows=10)
    result = run_batch(
        lambda batch: [len(content) for content in batch["bytes"]],
        files,
        str(tmp_path / "out"),
        inference_spec=how,
    )
    assert result.to_connector().to_arrow().to_pydict() == {
        "path": [str(tmp_path / "texts/a.txt"), str(tmp_path / "texts/b.txt")],
        "prediction": [15, 15],
    }


def test_failed_shards_are_told_and_resumed(rows: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch()
    place = str(tmp_path / "out")

    def predict(batch: pd.DataFrame) -> pd.Series:
        if wrong.exists() and 120 in set(batch["id"]):
            raise ValueError("no 120")
        return batch["id"]

    how = InferenceSpec(shard_rows=50)
    with pytest.raises(ShardsFailed, match=r"row 20 of .*/in/1\.parquet: ValueError: no 120"):
        run_batch(predict, rows, place, inference_spec=how)
    with pytest.raises(DataNotReadable, match="_manifest"):
        BatchResult.at(place)

    how = InferenceSpec(shard_rows=50, max_shard_failures=1)
    again = OutputSpec(place, mode=SaveMode.RESUME)
    partial = run_batch(predict, rows, again, inference_spec=how)
    assert (partial.rows, partial.rows_failed, partial.shards_failed) == (250, 50, 1)
    [failed] = partial.failed
    assert (failed.shard, failed.row, failed.file) == (2, 20, f"{rows}/1.parquet")
    assert "1 of 6 shards with 50 rows failed" in partial.partial

    wrong.unlink()
    whole = run_batch(predict, rows, again, inference_spec=how)
    assert (whole.rows, whole.failed) == (300, ())
    assert whole.to_connector().to_arrow().column("prediction").to_pylist() == list(range(300))


def test_what_does_not_fit_is_said_before_the_first_row(rows: str, tmp_path: Path) -> None:
    place = str(tmp_path / "out")
    with pytest.raises(ModelMismatch, match="feature 'a' of the XGBoost model is not in the input"):
        run_batch(booster(), pd.DataFrame({"aa": [1.0], "b": [2.0]}), place)
    with pytest.raises(ModelUnreadable, match="There is no model at"):
        run_batch(tmp_path / "no.ubj", rows, place)
    with pytest.raises(UserCodeError, match="returned 1 predictions for 300 rows"):
        run_batch(lambda _: [1], rows, OutputSpec(place, mode=SaveMode.OVERWRITE))
    assert not list((tmp_path / "out").glob("part-*"))


@pytest.mark.parametrize("kind", ["trees", "function"])
def test_rows_of_one_value_are_one_call_of_any_model(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {"id": range(300), "k": [f"k{i % 7}" for i in range(300)], "a": X[:, 0], "b": X[:, 1]}
    )

    def spread(batch: pd.DataFrame) -> pd.Series:
        assert batch["k"].nunique() == 1
        return batch["a"] - batch["a"].mean()

    result = run_batch(
        booster() if kind == "trees" else spread,
        frame,
        OutputSpec(str(tmp_path / "out"), keep=("id",)),
        input_spec=InputSpec(partition_column="k"),
    )
    found = result.to_connector().to_pandas().sort_values("id", ignore_index=True)
    assert found["id"].tolist() == list(range(300))
    if kind == "trees":
        expected = booster().inplace_predict(X)
    else:
        expected = frame["a"] - frame.groupby("k")["a"].transform("mean")
    np.testing.assert_allclose(found["prediction"], expected, atol=1e-6)
