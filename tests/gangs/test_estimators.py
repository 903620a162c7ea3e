"""Estimators with local workers: the model of a job, from whatever a caller has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
import xgboost as xgb

import mlpools.train
from mlpools.data import DataConnector
from mlpools.errors import DataNotReadable, InvalidSpec, UserCodeError
from mlpools.train import LightGBMEstimator, LightGBMScalingConfig, XGBEstimator, XGBScalingConfig
from tests.support.flights import flights, spec, write_flights
from tests.support.pods import Pods, read_json, task

ROWS = 2_000
PARAMS = {"max_depth": 4, "eta": 0.2}
HELD_OUT = flights(ROWS // 4, seed=1)
DELAYS = HELD_OUT["arr_delay"].to_numpy()


class Saved(xgb.callback.TrainingCallback):
    """Leaves a file, and ends the training after so many rounds."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder = folder
        self._rounds = rounds

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        (self._folder / f"{xgb.collective.get_rank()}-{epoch}").write_text(str(evals_log["eval"]["rmse"][-1]))
        return epoch + 1 == self._rounds


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_flights(tmp_path_factory.mktemp("flights"), ROWS)


@pytest.fixture(scope="module")
def trained(data: dict[str, Any]) -> XGBEstimator:
    """Two workers, rows in files, early stopping by a set that is measured."""
    estimator = XGBEstimator(20, params=PARAMS, scaling_config=XGBScalingConfig(num_workers=2))
    estimator.fit(
        DataConnector.from_parquet(data["train"]["parquet"]["url"]),
        label_col="arr_delay",
        eval_set=DataConnector.from_parquet(data["eval"]["parquet"]["url"]),
        early_stopping_rounds=15,
    )
    return estimator


def rmse(predicted: Any) -> float:
    return float(np.sqrt(np.mean((np.asarray(predicted) - DELAYS) ** 2)))


def test_two_workers_make_the_model_of_a_job_with_two_ranks(
    trained: XGBEstimator, data: dict[str, Any], tmp_path: Path
) -> None:
    work = task(tmp_path / "out", nodes=2, spec=spec(earlyStoppingRounds=15), data=data)
    with Pods(work, tmp_path / "pods") as pods:
        assert [final.code for final in pods.wait()] == [0, 0], pods[0].output()
    assert bytes(trained.get_booster().save_raw("ubj")) == (tmp_path / "out/model.ubj").read_bytes()


def test_the_curves_and_predictions_agree(trained: XGBEstimator) -> None:
    curves = trained.get_eval_results()
    assert list(curves) == ["train", "eval"]
    assert len(curves["eval"]["rmse"]) == 20
    best = int(trained.get_booster().attr("best_iteration") or -1)
    assert rmse(trained.predict(HELD_OUT)["prediction"]) == pytest.approx(
        curves["eval"]["rmse"][best], rel=1e-5
    )


@pytest.mark.parametrize("kind", [XGBEstimator, LightGBMEstimator])
def test_predictions_are_those_of_the_best_round(kind: type[XGBEstimator | LightGBMEstimator]) -> None:
    estimator = kind(500, params={"eta": 0.5, "seed": 1})
    estimator.fit(flights(400), label_col="arr_delay", eval_set=HELD_OUT, early_stopping_rounds=5)
    [curve] = estimator.get_eval_results()["eval"].values()
    assert np.argmin(curve) == len(curve) - 6 < 400
    error = rmse(estimator.predict(HELD_OUT)["prediction"])
    best = min(curve) if kind is XGBEstimator else min(curve) ** 0.5  # LightGBM measures l2
    assert error == pytest.approx(best, rel=1e-5)


def test_predictions_come_in_the_form_of_the_rows(trained: XGBEstimator, data: dict[str, Any]) -> None:
    expected = trained.predict(HELD_OUT)["prediction"].to_numpy()
    assert trained.predict(HELD_OUT).drop_columns(["prediction"]).equals(HELD_OUT)
    frame = HELD_OUT.to_pandas().set_index(pd.RangeIndex(7, 7 + len(HELD_OUT)))
    predicted = trained.predict(frame, prediction_col="minutes")
    assert list(predicted.index) == list(frame.index)
    assert list(frame.columns) == HELD_OUT.column_names  # the caller's own frame is as it was
    np.testing.assert_array_equal(predicted["minutes"], expected)
    lazy = trained.predict(polars.from_arrow(HELD_OUT))
    assert isinstance(lazy, polars.DataFrame)
    np.testing.assert_array_equal(lazy["prediction"].to_numpy(), expected)
    files = trained.predict(DataConnector.from_parquet(data["eval"]["parquet"]["url"]))
    assert isinstance(files, DataConnector)
    np.testing.assert_array_equal(files.to_arrow()["prediction"].to_numpy(), expected)
    empty = trained.predict(HELD_OUT.slice(0, 0))
    assert (empty.num_rows, empty.column_names[-1]) == (0, "prediction")


def test_what_predictions_cannot_be_made_of_is_said(trained: XGBEstimator) -> None:
    with pytest.raises(
        DataNotReadable, match=r"'distance'.* is not in the data.*Columns at hand: carrier, hour"
    ):
        trained.predict(HELD_OUT.drop_columns(["distance"]))
    with pytest.raises(DataNotReadable, match="already a column 'late'; choose another prediction_col"):
        trained.predict(HELD_OUT, prediction_col="late")
    text = HELD_OUT.set_column(1, "distance", pa.array(["far"] * len(HELD_OUT)))
    with pytest.raises(DataNotReadable, match=r"Column 'distance' is string.*has learned from numbers"):
        trained.predict(text)
    with pytest.raises(InvalidSpec, match="no model yet; call fit first"):
        XGBEstimator().predict(HELD_OUT)


def test_functions_of_the_caller_work_in_every_rank(tmp_path: Path) -> None:
    """A frame of pandas with categories; an objective, a metric and a callback that hold on to values."""
    factor = 2.0

    def squares(predictions: np.ndarray, matrix: xgb.DMatrix) -> tuple[np.ndarray, np.ndarray]:
        return factor * (predictions - matrix.get_label()), np.full(len(predictions), factor)

    frame = flights(ROWS).to_pandas().astype({"carrier": "category"})
    estimator = XGBEstimator(
        50,
        objective=squares,
        params={**PARAMS, "n_estimators": 30},
        callbacks=[Saved(tmp_path, rounds=12)],
        scaling_config=XGBScalingConfig(num_workers=2),
        custom_metric=lambda predictions, matrix: ("bias", float(np.mean(predictions - matrix.get_label()))),
    )
    estimator.fit(frame, ["carrier", "distance", "hour", "late"], "arr_delay", eval_set=HELD_OUT)
    curves = estimator.get_eval_results()["eval"]
    assert set(curves) == {"rmse", "bias"}
    assert len(curves["rmse"]) == 12
    assert {path.name for path in tmp_path.iterdir()} == {f"{rank}-{i}" for rank in (0, 1) for i in range(12)}
    assert rmse(estimator.predict(HELD_OUT)["prediction"]) == pytest.approx(curves["rmse"][-1], rel=1e-5)


def test_labels_beside_features_and_a_failure_in_the_caller_s_code(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(predictions: np.ndarray, matrix: xgb.DMatrix) -> tuple[np.ndarray, np.ndarray]:
        print("called")  # noqa: T201 - that is what is tested
        raise KeyError("weights")

    features = np.random.default_rng(0).random((100, 3))
    labels = features.sum(axis=1)
    with pytest.raises(UserCodeError, match=r"objective .*broken raised KeyError: 'weights'"):
        XGBEstimator(3, objective=broken).fit(features, labels, verbose_eval=False)
    assert capfd.readouterr().out == "called\n"


def test_a_training_goes_on_from_its_checkpoints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = flights(200)
    first = XGBEstimator(6, params=PARAMS)
    first.fit(table, label_col="arr_delay", checkpoint_url=f"file://{tmp_path}", checkpoint_rounds=3)
    assert [path.parent.name for path in tmp_path.glob("*/*/COMMIT")]
    second = XGBEstimator(8, params=PARAMS)
    second.fit(table, label_col="arr_delay", checkpoint_url=f"file://{tmp_path}", verbose_eval=2)
    assert len(second.get_eval_results()["train"]["rmse"]) == 8
    assert "round 8 of 8, train-rmse" in capfd.readouterr().out
    assert second.get_eval_results()["train"]["rmse"][:6] == first.get_eval_results()["train"]["rmse"]


def test_lightgbm_s_workers_make_the_model_of_a_job_too(data: dict[str, Any], tmp_path: Path) -> None:
    section = {"rounds": 20, "objective": "regression", "params": {"num_leaves": 15}, "label": "arr_delay"}
    work = task(tmp_path / "out", nodes=2, framework="lightgbm", spec=section, data=data)
    with Pods(work, tmp_path / "pods") as pods:
        assert [final.code for final in pods.wait()] == [0, 0], pods[0].output()
    config = LightGBMScalingConfig(num_workers=2)
    estimator = LightGBMEstimator(20, params={"num_leaves": 15}, scaling_config=config)
    estimator.fit(
        DataConnector.from_parquet(data["train"]["parquet"]["url"]),
        label_col="arr_delay",
        eval_set=DataConnector.from_parquet(data["eval"]["parquet"]["url"]),
    )
    reloaded = lgb.Booster(model_file=str(tmp_path / "out/model.txt"))
    assert estimator.get_booster().model_to_string() == reloaded.model_to_string()
    [curve] = estimator.get_eval_results()["eval"].values()
    assert rmse(estimator.predict(HELD_OUT)["prediction"]) ** 2 == pytest.approx(curve[-1], rel=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
def test_lightgbm_s_workers_call_a_caller_s_functions(workers: int) -> None:
    def squared(predictions: np.ndarray, rows: lgb.Dataset) -> tuple[np.ndarray, np.ndarray]:
        return predictions - rows.get_label(), np.ones_like(predictions)

    def worst(predictions: np.ndarray, rows: lgb.Dataset) -> tuple[str, float, bool]:
        return "worst", float(np.abs(predictions - rows.get_label()).max()), False

    scaling = LightGBMScalingConfig(num_workers=workers)
    estimator = LightGBMEstimator(3, objective=squared, custom_metric=worst, scaling_config=scaling)
    estimator.fit(flights(400), label_col="arr_delay")
    curve = estimator.get_eval_results()["train"]["worst"]
    assert len(curve) == 3
    assert curve == sorted(curve, reverse=True)


@pytest.mark.parametrize(
    ("framework", "objective"), [("xgboost", "reg:squarederror"), ("lightgbm", "regression")]
)
def test_a_worker_with_nobody_else_s_code_imports_no_frames(
    framework: str, objective: str, data: dict[str, Any], tmp_path: Path
) -> None:
    work = task(
        tmp_path / "out",
        framework=framework,
        spec={
            "rounds": 2,
            "objective": objective,
            "params": {},
            "label": "arr_delay",
            "evalMetrics": ["rmse"],
        },
        data=data,
    )
    with Pods(work, tmp_path / "pods") as pods:
        assert [final.code for final in pods.wait()] == [0], pods[0].output()
    imported = read_json(tmp_path / "out/result.json")["versions"]
    assert framework in imported
    assert not {"pandas", "sklearn"} & set(imported)


def test_a_caller_s_functions_may_use_frames_and_what_a_library_makes_of_them(tmp_path: Path) -> None:
    def look(env: lgb.callback.CallbackEnv) -> None:
        frame = pd.DataFrame({"x": range(50), "kind": pd.Categorical(["a", "b"] * 25)})
        binned = lgb.Dataset(frame, label=frame.x, params={"verbosity": -1}).construct()
        (tmp_path / "rows").write_text(str(binned.num_data()))

    LightGBMEstimator(1, callbacks=[look]).fit(flights(400), label_col="arr_delay")
    assert (tmp_path / "rows").read_text() == "50"


def test_weights_groups_and_margins_are_columns() -> None:
    rows = flights(400)
    ranked = rows.append_column("day", pa.array(np.arange(400) // 20)).append_column(
        "weight", pa.array(1.0 + np.arange(400) // 20)
    )
    gains = np.clip(rows["arr_delay"].to_numpy() // 10, 0, 3)
    ranked = ranked.set_column(ranked.schema.get_field_index("arr_delay"), "arr_delay", pa.array(gains))
    ranker = XGBEstimator(3, objective="rank:ndcg", params={"eval_metric": "ndcg@5"})
    ranker.fit(ranked, label_col="arr_delay", weight_col="weight", group_col="day", eval_set=ranked)
    assert ranker.get_booster().feature_names == ["carrier", "distance", "hour", "late"]
    assert ranker.get_eval_results()["eval"]["ndcg@5"][-1] > 0.5
    started = rows.append_column("start", rows["arr_delay"])
    exact = XGBEstimator(1)
    exact.fit(started, label_col="arr_delay", base_margin_col="start")
    np.testing.assert_allclose(exact.predict(started)["prediction"], started["start"], atol=1e-4)


def test_what_params_say_wins_and_lightgbm_predicts_from_no_margin() -> None:
    rows = flights(200)
    started = rows.append_column("start", rows["arr_delay"])
    of_xgboost = XGBEstimator(9, params={"num_boost_round": 2, "objective": "reg:absoluteerror"})
    of_xgboost.fit(rows, label_col="arr_delay")
    assert len(of_xgboost.get_eval_results()["train"]["mae"]) == 2
    of_lightgbm = LightGBMEstimator(9, params={"n_estimators": 2, "objective": "huber"})
    of_lightgbm.fit(started, label_col="arr_delay", base_margin_col="start")
    assert len(of_lightgbm.get_eval_results()["train"]["huber"]) == 2
    with pytest.raises(InvalidSpec, match=r"without the base margin 'start': use get_booster\(\)\.predict"):
        of_lightgbm.predict(started)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for estimator in (
        XGBEstimator(scaling_config=XGBScalingConfig(use_gpu=True)),
        XGBEstimator(params={"device": "cuda"}),
        LightGBMEstimator(params={"device_type": "gpu"}),
    ):
        with pytest.raises(InvalidSpec, match=r"1 worker.* with a GPU each .* this machine has 0"):
            estimator.fit(HELD_OUT, label_col="arr_delay")


def test_the_names_are_there_and_import_nothing_before_they_are_used() -> None:
    assert set(mlpools.train.__all__) <= set(dir(mlpools.train))
    assert all(getattr(mlpools.train, name) for name in mlpools.train.__all__)
    with pytest.raises(AttributeError, match="no attribute 'XGBoostEstimator'"):
        _ = mlpools.train.XGBoostEstimator
    with pytest.raises(InvalidSpec, match="num_workers must be 1 or more, or -1"):
        XGBScalingConfig(num_workers=0)
