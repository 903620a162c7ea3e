"""Models of every framework: told apart by content, loaded safely, checked before the first row."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

from mlpools.data.columns import Columns
from mlpools.errors import CodeNotReadable, InvalidSpec, ModelMismatch, ModelUnreadable, UserCodeError
from mlpools.inference.models import Given, load
from mlpools.inference.models.base import PROBABILITY, Model
from mlpools.inference.models.detect import detect
from mlpools.inference.models.fetch import fetch
from mlpools.inference.settings import ModelSpec
from tests.support.object_store import ObjectStore
from tests.support.onnx_files import row_sums, sum_of_columns

X = np.random.default_rng(0).random((200, 2)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(int)
ROWS = pa.table({"a": X[:, 0], "b": X[:, 1], "name": ["x"] * 200})


def loaded(
    path: Path | None, *, schema: pa.Schema = ROWS.schema, features: Sequence[str] = (), **spec: Any
) -> Model:
    return load(Given(ModelSpec(str(path or ""), **spec), path, schema, features, threads=1))


def boosted(path: Path, *, contract: Columns | None = None, names: list[str] | None = None) -> xgb.Booster:
    booster = xgb.train({"nthread": 1, "max_depth": 2}, xgb.DMatrix(X, Y, feature_names=names), 5)
    booster.set_attr(best_iteration="2", **({"mlpools_columns": contract.to_json()} if contract else {}))
    booster.save_model(path)
    return booster


class TestXGBoost:
    def test_it_predicts_with_the_best_rounds(self, tmp_path: Path) -> None:
        booster = boosted(tmp_path / "m.ubj", names=["a", "b"])
        model = loaded(tmp_path / "m.ubj")
        assert model.columns == ["a", "b"]
        [found] = model.predict(ROWS).values()
        assert np.array_equal(found, booster.inplace_predict(X, iteration_range=(0, 3)))

    def test_without_names_it_asks_for_them_and_counts(self, tmp_path: Path) -> None:
        boosted(tmp_path / "m.json")
        with pytest.raises(ModelMismatch, match="list the columns"):
            loaded(tmp_path / "m.json")
        with pytest.raises(ModelMismatch, match="learned from 2 features, but 1"):
            loaded(tmp_path / "m.json", features=["a"])
        assert loaded(tmp_path / "m.json", features=["b", "a"]).columns == ["b", "a"]

    def test_a_missing_feature_and_one_of_text_are_named(self, tmp_path: Path) -> None:
        boosted(tmp_path / "m.ubj", names=["a", "bb"])
        with pytest.raises(ModelMismatch, match=r"feature 'bb' .* Did you mean 'b'"):
            loaded(tmp_path / "m.ubj")
        boosted(tmp_path / "t.ubj", names=["a", "name"])
        with pytest.raises(ModelMismatch, match=r"Column 'name' is string, but the XGBoost model .* numbers"):
            loaded(tmp_path / "t.ubj")

    def test_features_that_it_does_not_have_are_named(self, tmp_path: Path) -> None:
        boosted(tmp_path / "m.ubj", names=["a", "b"])
        with pytest.raises(ModelMismatch, match="also needs 'b' and it has not learned from 'name'"):
            loaded(tmp_path / "m.ubj", features=["a", "name"])

    def test_its_categories_are_applied_and_unknown_ones_counted(self, tmp_path: Path) -> None:
        contract = Columns(("c",), ("c",), "y", categories={"c": ("blue", "red")})
        rows = pa.table({"c": ["red", "blue"] * 50})
        features, _ = contract.inputs(rows)
        matrix = xgb.DMatrix(features, [1, 0] * 50, feature_types=["c"], enable_categorical=True)
        booster = xgb.train({"nthread": 1, "tree_method": "hist"}, matrix, 3)
        booster.set_attr(mlpools_columns=contract.to_json())
        booster.save_model(tmp_path / "m.ubj")
        model = loaded(tmp_path / "m.ubj", schema=rows.schema)
        [found] = model.predict(pa.table({"c": ["blue", "red", "green"]})).values()
        values = found.to_pylist()
        assert values[0] < 0.5 < values[1]
        assert model.unknown == 1

    def test_a_damaged_file_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "m.json").write_text('{"learner": {')
        with pytest.raises(
            ModelUnreadable, match=r"m\.json cannot be loaded as a model of xgboost"
        ) as caught:
            loaded(tmp_path / "m.json")
        assert "tack trace" not in str(caught.value)


class TestLightGBM:
    def trained(self, path: Path, **more: Any) -> lgb.Booster:
        data = lgb.Dataset(X, Y, **more)
        booster = lgb.train({"num_threads": 1, "verbose": -1, "objective": "binary"}, data, 3)
        booster.save_model(path)
        return booster

    def test_it_predicts(self, tmp_path: Path) -> None:
        booster = self.trained(tmp_path / "m.txt", feature_name=["b", "a"])
        model = loaded(tmp_path / "m.txt")
        assert model.columns == ["b", "a"]
        [found] = model.predict(ROWS).values()
        assert np.allclose(found, booster.predict(X[:, ::-1]))

    def test_features_that_nobody_named_have_to_be_listed(self, tmp_path: Path) -> None:
        self.trained(tmp_path / "m.txt")
        with pytest.raises(ModelMismatch, match="list the columns"):
            loaded(tmp_path / "m.txt")

    def test_categories_of_a_pandas_frame_are_mapped_as_it_mapped_them(self, tmp_path: Path) -> None:
        import pandas as pd

        frame = pd.DataFrame({"c": pd.Categorical(["red", "blue"] * 100), "n": range(200)})
        data = lgb.Dataset(frame, [1, 0] * 100, params={"min_data_per_group": 1})
        booster = lgb.train({"num_threads": 1, "verbose": -1, "min_data_in_leaf": 1}, data, 3)
        booster.save_model(tmp_path / "m.txt")
        rows = pa.table({"c": ["red", "blue", "red"], "n": [7, 7, 7]})
        [found] = loaded(tmp_path / "m.txt", schema=rows.schema).predict(rows).values()
        low, high = found[1].as_py(), found[0].as_py()
        assert low < high == found[2].as_py()


class TestScikitLearn:
    def fitted(self) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression().fit(X, np.where(Y, "yes", "no"))

    def test_a_classifier_by_skops_has_probabilities_beside(self, tmp_path: Path) -> None:
        import skops.io

        estimator = self.fitted()
        skops.io.dump(estimator, tmp_path / "m.skops")
        found = loaded(tmp_path / "m.skops", features=["a", "b"]).predict(ROWS)
        assert found[""].to_pylist() == estimator.predict(X).tolist()
        assert np.allclose(found[PROBABILITY].flatten(), estimator.predict_proba(X).reshape(-1))

    def test_types_that_skops_does_not_trust_are_named(self, tmp_path: Path) -> None:
        import skops.io
        from sklearn.preprocessing import FunctionTransformer

        skops.io.dump(FunctionTransformer(subprocess.check_output), tmp_path / "m.skops")
        with pytest.raises(ModelUnreadable, match=r"subprocess\.check_output.* model\.params\.trusted"):
            loaded(tmp_path / "m.skops", features=["a", "b"])

    def test_a_pickle_is_loaded_only_if_that_was_allowed(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> Any:
                return (pytest.fail, ("it was loaded",))

        (tmp_path / "m.pkl").write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ModelUnreadable, match="allowPickle"):
            loaded(tmp_path / "m.pkl")
        with pytest.raises(ModelUnreadable, match="allowPickle"):
            loaded(tmp_path / "m.pkl", framework="sklearn")
        (tmp_path / "m.pkl").write_bytes(pickle.dumps(self.fitted()))
        model = loaded(
            tmp_path / "m.pkl", framework="sklearn", params={"allowPickle": True}, features=["a", "b"]
        )
        assert len(model.predict(ROWS)[""]) == 200


class TestOnnx:
    def test_one_input_of_all_features(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(row_sums())
        model = loaded(tmp_path / "m.onnx", features=["a", "b"])
        assert np.allclose(model.predict(ROWS)[""], X.sum(axis=1))
        with pytest.raises(ModelMismatch, match="learned from 2 features, but 1"):
            loaded(tmp_path / "m.onnx", features=["a"])

    def test_one_input_whose_features_its_metadata_name(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(row_sums(feature_names='["b", "a"]'))
        assert loaded(tmp_path / "m.onnx").columns == ["b", "a"]
        with pytest.raises(ModelMismatch, match="feature 'b'"):
            loaded(tmp_path / "m.onnx", schema=pa.schema({"a": pa.float32()}))
        with pytest.raises(ModelMismatch, match="it also needs 'b' and it has not learned from 'c'"):
            loaded(tmp_path / "m.onnx", features=["a", "c"])
        for text in ("b, a", '{"b": 1}', "[1, 2]"):
            (tmp_path / "m.onnx").write_bytes(row_sums(feature_names=text))
            with pytest.raises(ModelUnreadable, match=r"no list of names: write it as JSON"):
                loaded(tmp_path / "m.onnx")

    def test_one_input_a_column_in_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(sum_of_columns("b", "a"))
        model = loaded(tmp_path)
        assert model.columns == ["b", "a"]
        assert np.allclose(model.predict(ROWS)[""], X.sum(axis=1))
        with pytest.raises(ModelMismatch, match="feature 'b'"):
            loaded(tmp_path, schema=pa.schema({"a": pa.float32()}))


class TestPython:
    @pytest.fixture(autouse=True)
    def _module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = types.ModuleType("scoring")
        code = """
class Scorer:
    def load(self, path):
        self.factor = float(path.read_text())
    def predict(self, batch):
        return {"double": batch["a"] * self.factor, "rows": [len(batch)] * len(batch)}
def plain(batch):
    return batch["a"] + batch["b"]
def arrow(batch):
    return batch.column("a")
class Nothing: pass
value = 3
"""
        exec(code, module.__dict__)
        monkeypatch.setitem(sys.modules, "scoring", module)

    def test_a_class_is_loaded_once_and_may_answer_in_columns(self, tmp_path: Path) -> None:
        (tmp_path / "factor").write_text("2")
        model = loaded(tmp_path / "factor", framework="python", entrypoint="scoring:Scorer")
        found = model.predict(ROWS)
        assert np.allclose(found["double"], 2 * X[:, 0])
        assert model.names_columns

    def test_a_function_gets_frames_or_tables(self) -> None:
        model = loaded(None, framework="python", entrypoint="scoring:plain")
        assert np.allclose(model.predict(ROWS)[""], X.sum(axis=1))
        arrow = loaded(None, framework="python", entrypoint="scoring:arrow", params={"batchFormat": "arrow"})
        assert np.allclose(arrow.predict(ROWS)[""], X[:, 0])

    @pytest.mark.parametrize(
        ("entrypoint", "error", "words"),
        [
            ("scoring:plane", CodeNotReadable, "Did you mean 'plain'"),
            ("nowhere_at_all:x", CodeNotReadable, "neither in the job's code nor in the image"),
            ("scoring:Nothing", ModelUnreadable, "has no method predict"),
            ("scoring:value", ModelUnreadable, "no function"),
        ],
    )
    def test_what_cannot_be_called_is_named(self, entrypoint: str, error: Any, words: str) -> None:
        with pytest.raises(error, match=words):
            loaded(None, framework="python", entrypoint=entrypoint)

    def test_a_module_that_fails_is_the_users_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "broken_scoring.py").write_text("import no_such_library\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(UserCodeError, match="no_such_library"):
            loaded(None, framework="python", entrypoint="broken_scoring:x")


def test_unknown_parameters_and_files_are_refused(tmp_path: Path) -> None:
    boosted(tmp_path / "m.ubj", names=["a", "b"])
    with pytest.raises(InvalidSpec, match="allowPickel"):
        loaded(tmp_path / "m.ubj", params={"allowPickel": True})
    (tmp_path / "m.bin").write_bytes(b"something else")
    with pytest.raises(ModelUnreadable, match=r"say it in model\.framework"):
        detect(tmp_path / "m.bin")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(ModelUnreadable, match="neither of skops nor of PyTorch"):
        detect(tmp_path / "m.zip")


def test_a_model_in_a_store_is_laid_down_and_named_by_its_bytes(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    object_store.objects.update({"bucket/m/model.onnx": b"abc", "bucket/m/data/weights": b"defg"})
    fetched = fetch("s3://bucket/m", tmp_path)
    assert fetched.path is not None
    assert (fetched.path / "data/weights").read_bytes() == b"defg"
    object_store.objects["bucket/m/data/weights"] = b"deXg"
    (tmp_path / "again").mkdir()
    assert fetch("s3://bucket/m", tmp_path / "again").digest != fetched.digest
    with pytest.raises(ModelUnreadable, match="no model at s3://bucket/none"):
        fetch("s3://bucket/none", tmp_path)


class TestWhatIsNoModel:
    @pytest.mark.parametrize("said", ["lightgbm", "onnx", "sklearn", "pytorch"])
    def test_another_framework_than_was_said_is_named(self, tmp_path: Path, said: Any) -> None:
        boosted(tmp_path / "m.ubj")
        with pytest.raises(ModelUnreadable, match=f"m.ubj is a model of xgboost, and .* says {said}"):
            loaded(tmp_path / "m.ubj", framework=said)

    def test_an_empty_file_is_called_so(self, tmp_path: Path) -> None:
        (tmp_path / "m.ubj").touch()
        with pytest.raises(ModelUnreadable, match=r"^m\.ubj is empty"):
            loaded(tmp_path / "m.ubj")

    def test_half_a_file_is_one_sentence_without_places_in_native_code(self, tmp_path: Path) -> None:
        boosted(tmp_path / "m.ubj")
        (tmp_path / "half.ubj").write_bytes((tmp_path / "m.ubj").read_bytes()[:600])
        with pytest.raises(ModelUnreadable, match=r"^half\.ubj cannot .* Is it whole") as caught:
            loaded(tmp_path / "half.ubj")
        assert "/workspace" not in str(caught.value)
        assert "\n" not in str(caught.value)
