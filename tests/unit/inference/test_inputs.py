"""Columns of every type, categories and missing values: models answer as they do without us."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import xgboost as xgb

from mlpools.errors import ModelMismatch, ModelUnreadable
from mlpools.inference.models import Given, load
from mlpools.inference.models.base import PROBABILITY, Model, matrix
from mlpools.inference.models.fetch import fetch
from mlpools.inference.settings import ModelSpec

RNG = np.random.default_rng(5)
COUNT = 300
NAMES = ["a", "b"]
X = np.stack([RNG.integers(0, 5, COUNT), RNG.integers(0, 5, COUNT)], axis=1).astype(np.float64)
Y = X[:, 0] * 2 > X[:, 1]
CLASSES = (X.sum(axis=1) % 3).astype(int)

#: The same values 0, 1 and nothing in columns of every type that a model of numbers takes.
COLUMNS: dict[str, pa.Array] = {
    "boolean": pa.array([False, True, None]),
    "decimal": pa.array([Decimal("0.0"), Decimal("1.0"), None], pa.decimal128(4, 1)),
    "int64": pa.array([0, 1, None], pa.int64()),
    "uint8": pa.array([0, 1, None], pa.uint8()),
    "half": pa.array(np.array([0, 1, np.nan], np.float16)),
    "float": pa.array([0, 1, None], pa.float32()),
    "NaN": pa.array([0, 1, np.nan], pa.float64()),
    "dictionary": pa.array([0, 1, None], pa.int64()).dictionary_encode(),
}
PLAIN = np.array([[0, 3], [1, 3], [np.nan, 3]])


def loaded(path: Path, schema: pa.Schema, *, features: Sequence[str] = (), **spec: Any) -> Model:
    return load(Given(ModelSpec(str(path), **spec), path, schema, features, threads=1))


def predicted(path: Path, rows: pa.Table, **given: Any) -> npt.NDArray[Any]:
    [found] = loaded(path, rows.schema, **given).predict(rows).values()
    width = found.type.list_size if pa.types.is_fixed_size_list(found.type) else 1
    values = np.array(found.flatten() if width > 1 else found)
    return values.reshape(len(rows), width) if width > 1 else values


def xgboosted(path: Path, label: Any, rows: Any = X, **params: Any) -> xgb.Booster:
    names = None if hasattr(rows, "columns") else NAMES
    data = xgb.DMatrix(rows, label, feature_names=names, enable_categorical=True)
    booster = xgb.train({"nthread": 1, "max_depth": 3, **params}, data, 4)
    booster.save_model(path)
    return booster


def light(path: Path, label: Any, rows: Any = X, **params: Any) -> lgb.Booster:
    names = "auto" if hasattr(rows, "columns") else NAMES
    data = lgb.Dataset(rows, label, feature_name=names, params={"min_data_per_group": 1, "cat_smooth": 0})
    given = {"num_threads": 1, "verbose": -1, "min_data_in_leaf": 1, **params}
    booster = lgb.train(given, data, 4)
    booster.save_model(path)
    return booster


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_number_is_a_number_in_whatever_column(tmp_path: Path, kind: str) -> None:
    rows = pa.table({"a": COLUMNS[kind], "b": [3, 3, 3]})
    plain = xgboosted(tmp_path / "x.ubj", Y).predict(xgb.DMatrix(PLAIN, feature_names=NAMES))
    assert np.array_equal(predicted(tmp_path / "x.ubj", rows), plain)
    booster = light(tmp_path / "l.txt", Y)
    assert np.array_equal(predicted(tmp_path / "l.txt", rows), booster.predict(PLAIN))
    assert np.array_equal(matrix(rows), PLAIN, equal_nan=True)


def test_a_moment_is_no_number(tmp_path: Path) -> None:
    xgboosted(tmp_path / "x.ubj", Y)
    rows = pa.table({"a": [datetime.datetime(2024, 1, 1)], "b": [1]})
    with pytest.raises(ModelMismatch, match=r"Column 'a' is timestamp\[us\]"):
        loaded(tmp_path / "x.ubj", rows.schema)


def test_what_is_missing_is_no_integer() -> None:
    with pytest.raises(ValueError, match="'a' is missing"):
        matrix(pa.table({"a": [1, None]}), "int64")


def test_several_classes_are_a_list_a_row(tmp_path: Path) -> None:
    rows = pa.table({"a": X[:, 0], "b": X[:, 1]})
    booster = xgboosted(tmp_path / "x.ubj", CLASSES, objective="multi:softprob", num_class=3)
    expected = booster.predict(xgb.DMatrix(X, feature_names=NAMES))
    assert np.array_equal(predicted(tmp_path / "x.ubj", rows), expected)
    plain = light(tmp_path / "l.txt", CLASSES, objective="multiclass", num_class=3)
    assert np.array_equal(predicted(tmp_path / "l.txt", rows), plain.predict(X))


@pytest.mark.filterwarnings("ignore::UserWarning")  # it tells that they are going to be deprecated
def test_linear_boosters_predict_from_a_matrix(tmp_path: Path) -> None:
    booster = xgboosted(tmp_path / "x.ubj", Y, booster="gblinear")
    expected = booster.predict(xgb.DMatrix(X, feature_names=NAMES))
    assert np.array_equal(predicted(tmp_path / "x.ubj", pa.table({"a": X[:, 0], "b": X[:, 1]})), expected)


@pytest.mark.parametrize("values", [["blue", "green", "red"], [5, 60, 700]])
def test_categories_of_a_frame_are_mapped_as_it_mapped_them(tmp_path: Path, values: list[Any]) -> None:
    import pandas as pd

    codes = RNG.integers(0, 3, COUNT)
    chosen = np.array(values)[codes]
    frame = pd.DataFrame({"c": pd.Categorical(chosen), "n": X[:, 0]})
    label = (codes == 1) * 5 + X[:, 0]
    rows = pa.table({"c": chosen, "n": X[:, 0]})
    booster = xgboosted(tmp_path / "x.ubj", label, frame)
    expected = booster.predict(xgb.DMatrix(frame, enable_categorical=True))
    assert np.array_equal(predicted(tmp_path / "x.ubj", rows), expected)
    plain = light(tmp_path / "l.txt", label, frame)
    assert np.array_equal(predicted(tmp_path / "l.txt", rows), plain.predict(frame))
    strange = pa.table({"c": pa.array([values[0], None, values[0] * 2]), "n": [1.0, 1.0, 1.0]})
    for name in ("x.ubj", "l.txt"):
        model = loaded(tmp_path / name, strange.schema)
        found = next(iter(model.predict(strange).values()))
        assert found[1] == found[2]
        assert model.unknown == 1


def test_codes_of_categories_are_taken_as_they_are(tmp_path: Path) -> None:
    data = xgb.DMatrix(X, Y, feature_names=NAMES, feature_types=["c", "q"], enable_categorical=True)
    booster = xgb.train({"nthread": 1}, data, 3)
    booster.save_model(tmp_path / "x.ubj")
    rows = pa.table({"a": X[:, 0].astype(int), "b": X[:, 1]})
    assert np.array_equal(predicted(tmp_path / "x.ubj", rows), booster.predict(data))


def test_categories_that_no_tree_uses_have_their_lists_all_the_same(tmp_path: Path) -> None:
    import pandas as pd

    chosen = np.where(Y, "yes", "no")
    frame = pd.DataFrame({"same": pd.Categorical(["x"] * COUNT), "c": pd.Categorical(chosen), "n": X[:, 0]})
    booster = light(tmp_path / "l.txt", Y, frame)
    rows = pa.table({"same": ["x"] * COUNT, "c": chosen, "n": X[:, 0]})
    assert np.array_equal(predicted(tmp_path / "l.txt", rows), booster.predict(frame))
    with pytest.raises(ModelUnreadable, match="2 lists of categories, but 1 feature"):
        loaded(tmp_path / "l.txt", pa.schema({"same": pa.int64(), "c": pa.string(), "n": pa.float64()}))


def test_a_pipeline_gets_the_columns_that_it_names(tmp_path: Path) -> None:
    import joblib
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"c": np.where(Y, "p", "q"), "n": X[:, 0]})
    columns = make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough")
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, CLASSES)
    joblib.dump(pipeline, tmp_path / "m.joblib")
    rows = pa.table({"n": [Decimal(int(value)) for value in X[:, 0]], "extra": X[:, 1], "c": frame["c"]})
    model = loaded(tmp_path / "m.joblib", rows.schema, framework="sklearn", params={"allowPickle": True})
    assert model.columns == ["c", "n"]
    found = model.predict(rows)
    assert found[""].to_pylist() == pipeline.predict(frame).tolist()
    assert np.allclose(found[PROBABILITY].flatten(), pipeline.predict_proba(frame).reshape(-1))


def test_the_output_of_a_training_job_stands_for_its_model(tmp_path: Path) -> None:
    (tmp_path / "out/logs").mkdir(parents=True)
    (tmp_path / "out/logs/rank-0.log").write_text("…")
    xgboosted(tmp_path / "out/model.ubj", Y)
    with pytest.raises(ModelUnreadable, match="no model of a known kind"):
        loaded(fetch(str(tmp_path / "out"), tmp_path).path or tmp_path, pa.schema({"a": pa.int8()}))
    (tmp_path / "out/result.json").write_text(json.dumps({}))
    assert fetch(str(tmp_path / "out"), tmp_path).path == tmp_path / "out/model.ubj"
    (tmp_path / "out/model.ubj").unlink()
    (tmp_path / "out/model").mkdir()
    (tmp_path / "out/model/net.pt").write_bytes(b"weights")
    assert fetch(str(tmp_path / "out"), tmp_path).path == tmp_path / "out/model/net.pt"
