"""One rank of LightGBM in this process: the model's text, checkpoints, parameters, and what is refused."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlpools.train.trees.data as trainer
from mlpools.contract.ends import Exit, Final
from mlpools.errors import BadHyperParameter, DataNotReadable, InvalidSpec, Preempted, UserCodeError
from mlpools.gang import Gang
from mlpools.refusals import LIGHTGBM_METRICS, LIGHTGBM_OBJECTIVES, lightgbm_refusal
from mlpools.train.collective import Collective
from mlpools.train.lightgbm import network
from mlpools.train.lightgbm.parameters import Parameters
from mlpools.train.lightgbm_text import columns_of
from mlpools.train.trees.hooks import Hooks
from tests.support.flights import CARRIERS, flights
from tests.support.one_rank import OneRank
from tests.support.pods import read_json


def spec(**changes: Any) -> dict[str, Any]:
    base = {
        "rounds": 20,
        "objective": "regression",
        "params": {"num_leaves": 15, "learning_rate": 0.2},
        "label": "arr_delay",
        "evalMetrics": ["rmse"],
    }
    return {**base, **changes}


class Here(OneRank):
    def train(self, stop_at: int = 0, **changes: Any) -> Final:
        return self.run(stop_at, **{"framework": "lightgbm", "spec": spec(), **changes})

    def text(self) -> str:
        return (self.output / "model.txt").read_text()

    def booster(self) -> lgb.Booster:
        return lgb.Booster(model_str=self.text())

    def result(self) -> Any:
        return read_json(self.output / "result.json")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def overwritten(here: Here) -> dict[str, Any]:
    return {"uid": "uid-2", "output": {"url": str(here.output), "mode": "Overwrite"}}


def test_a_plain_reader_predicts_with_the_best_round_and_the_right_categories(here: Here) -> None:
    params = {"learning_rate": 0.5, "num_leaves": 31, "min_data_in_leaf": 2}
    final = here.train(spec=spec(rounds=500, earlyStoppingRounds=5, params=params))
    result, booster = here.result(), here.booster()
    assert booster.num_trees() == result["bestRound"] == final.step - 5 < 495
    held_out = flights(250, seed=1).to_pandas()
    truth = held_out.pop("arr_delay")
    # A user's own list of categories, in an order of its own and with one more.
    held_out["carrier"] = held_out["carrier"].astype(pd.CategoricalDtype(["zz", *CARRIERS[::-1]]))
    error = float(np.sqrt(np.mean((booster.predict(held_out) - truth) ** 2)))
    assert error == pytest.approx(result["metrics"]["eval"]["rmse"], rel=1e-6) == final.metrics["eval-rmse"]
    assert error < 0.3 * result["baseline"]["eval"]["rmse"]
    assert result["baseline"]["train"]["rmse"] == pytest.approx(
        np.std(flights(1_000)["arr_delay"].to_numpy())
    )


def test_the_model_brings_its_contract_and_nothing_of_the_attempt(here: Here) -> None:
    here.train()
    columns = columns_of(here.text())
    assert columns is not None
    assert json.loads(columns.to_json()) == here.result()["columns"]
    assert columns.categories == {"carrier": CARRIERS}
    for name in ("machines", "num_machines", "local_listen_port", "time_out", "num_threads"):
        assert f"[{name}:" not in here.text()
    assert columns_of(lgb.Booster(model_str=here.text()).model_to_string()) is None


def test_bins_come_from_a_sample_and_rows_are_pushed_in_pieces_without_a_difference(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain LightGBM on the whole table gives the same trees."""
    here.train()
    table = flights(1_000)
    codes = [CARRIERS.index(name) for name in table["carrier"].to_pylist()]
    plain = np.column_stack(
        [codes, *(table[name].to_numpy().astype(float) for name in table.column_names[1:4])]
    )
    params = {**spec()["params"], "objective": "regression", "verbosity": -1, "deterministic": True,
              "force_row_wise": True, "num_threads": 1, "feature_pre_filter": False}  # fmt: skip
    data = lgb.Dataset(plain, table["arr_delay"].to_numpy(), categorical_feature=[0], params=params)
    theirs = lgb.train(params, data, 20)
    assert here.booster().predict(plain) == pytest.approx(theirs.predict(plain), abs=1e-9)
    monkeypatch.setattr("mlpools.train.lightgbm.dataset._PIECE_ROWS", 77)
    monkeypatch.setattr("mlpools.train.lightgbm.dataset._Pieces.batch_size", 77)
    monkeypatch.setattr(trainer, "_DECODED_SHARE", -1.0)
    before = here.text()
    here.train(**overwritten(here))
    assert here.text() == before


@pytest.mark.parametrize("stop_at", [1, 5])
def test_a_stop_anywhere_gives_the_same_model_and_the_same_early_stop(
    here: Here, tmp_path: Path, stop_at: int
) -> None:
    wanted = spec(rounds=60, earlyStoppingRounds=4, params={"learning_rate": 0.5, "min_data_in_leaf": 2})
    other = Here(tmp_path / "other")
    other.data = here.data
    other.train(spec=wanted)
    with pytest.raises(Preempted):
        here.train(stop_at, spec=wanted)
    here.train(attempt=2, spec=wanted)
    assert here.result()["resumedFromStep"] == stop_at
    assert here.result()["bestRound"] == other.result()["bestRound"] > stop_at
    assert here.text() == other.text()
    assert here.result()["baseline"] == other.result()["baseline"]


def test_dart_with_bagging_resumes_about_as_well(here: Here, tmp_path: Path) -> None:
    params = {"boosting": "dart", "bagging_freq": 1, "bagging_fraction": 0.7, "num_leaves": 15}
    other = Here(tmp_path / "other")
    other.data = here.data
    other.train(spec=spec(params=params))
    with pytest.raises(Preempted):
        here.train(8, spec=spec(params=params))
    here.train(attempt=2, spec=spec(params=params))
    there = other.result()["metrics"]["eval"]["rmse"]
    assert here.result()["metrics"]["eval"]["rmse"] == pytest.approx(there, rel=0.1)
    assert here.booster().num_trees() == 20


def test_several_classes(here: Here) -> None:
    table = flights(600)
    label = pa.array(np.digitize(table["arr_delay"].to_numpy(), [8, 16]).astype(np.int8))
    for name, part in (("train", table.slice(0, 600)), ("eval", table.slice(0, 200))):
        path = here.folder / f"{name}-classes.parquet"
        pq.write_table(part.set_column(4, "arr_delay", label.slice(0, len(part))), path)
        here.data[name] = {"parquet": {"url": str(path)}}
    wanted = spec(objective="multiclass", params={"num_class": 3}, evalMetrics=["auc_mu", "multi_error"])
    here.train(spec=wanted)
    assert here.result()["metrics"]["train"]["multi_error"] < 0.1
    with pytest.raises(Preempted):
        here.train(3, spec=wanted, **overwritten(here))
    before = here.text()
    here.train(spec=wanted, attempt=2, **overwritten(here))
    assert here.text() == before


def test_weights_count(here: Here) -> None:
    table = flights(400)
    weight = pa.array((np.arange(400) % 2).astype(float))
    pq.write_table(table.append_column("w", weight), here.folder / "weighted.parquet")
    here.train(
        data={"train": {"parquet": {"url": str(here.folder / "weighted.parquet")}}}, spec=spec(weight="w")
    )
    odd = table["arr_delay"].to_numpy()[1::2]
    assert here.result()["baseline"]["train"]["rmse"] == pytest.approx(np.std(odd), rel=1e-5)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"num_leave": 3}, "does not know the parameter 'num_leave'. Did you mean 'num_leaves'"),
        ({"learning_rate": -1}, "refuses the parameter 'learning_rate'"),
        ({"learning_rate": "fast"}, "refuses the parameter 'learning_rate'"),
        ({"eta": 0.1, "learning_rate": 0.2}, "'learning_rate' is 'learning_rate', which is given too"),
        ({"max_bin": 1}, "refuses the parameter 'max_bin'"),
        (
            {"monotone_constraints": [1, 0]},
            "has 2 numbers for 4 features; give one for each of carrier, dist",
        ),
        ({"monotone_constraints": "1,0,0,0"}, "'carrier' has categories, which have no order"),
        ({"linear_tree": True}, "'linear_tree' cannot be set"),
        ({"boosting": "rf"}, "cannot go on from a checkpoint"),
        ({"device": "gpu"}, "'device_type' cannot be set"),
        ({"num_machines": 3}, "'num_machines' cannot be set"),
    ],
)
def test_bad_parameters_are_named(here: Here, params: dict[str, Any], words: str) -> None:
    with pytest.raises(BadHyperParameter, match=words) as caught:
        here.train(spec=spec(params=params))
    assert caught.value.code == Exit.BAD_HYPER_PARAMETER
    assert "\n" not in str(caught.value)


def test_an_unknown_objective_or_metric_is_named(here: Here) -> None:
    with pytest.raises(BadHyperParameter, match=r"no objective 'regresion'. Did you mean 'regression'"):
        here.train(spec=spec(objective="regresion"))
    with pytest.raises(BadHyperParameter, match=r"no metric 'rsme'. Did you mean 'rmse'"):
        here.train(spec=spec(evalMetrics=["rsme"]))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"objective": "mae"}, "takes medians of each node's own rows"),
        ({"objective": "binary", "tree_learner": "feature"}, "needs all rows on every node"),
        ({"objective": "binary", "monotone_constraints_method": "advanced"}, "can be basic only"),
        ({"objective": "multiclass", "auc_mu_weights": [0, 1, 1, 0]}, "auc_mu_weights"),
    ],
)
def test_what_would_be_another_model_on_several_ranks_is_refused(params: dict[str, Any], words: str) -> None:
    assert lightgbm_refusal(params, 1) is None
    assert words in (lightgbm_refusal(params, 2) or "")


def test_the_tables_of_names_are_lightgbms_own() -> None:
    table = np.zeros((4, 1))
    for name in sorted(LIGHTGBM_OBJECTIVES):
        ranking = {"group": [4]} if LIGHTGBM_OBJECTIVES[name] in ("lambdarank", "rank_xendcg") else {}
        classes = {"num_class": 2} if "multiclass" in LIGHTGBM_OBJECTIVES[name] else {}
        data = lgb.Dataset(table, [1, 1, 1, 1], params={"verbosity": -1}, **ranking)
        booster = lgb.Booster({"objective": name, "verbosity": -1, "num_threads": 1, **classes}, data)
        assert f"objective={LIGHTGBM_OBJECTIVES[name]}" in booster.model_to_string()
    for name in sorted(LIGHTGBM_METRICS):
        several = name.startswith("multi") or name in ("softmax", "ova", "ovr", "auc_mu")
        objective = {"objective": "multiclass", "num_class": 2} if several else {"objective": "binary"}
        data = lgb.Dataset(table, [1, 1, 1, 1], group=[4], params={"verbosity": -1})
        booster = lgb.Booster({**objective, "metric": name, "verbosity": -1, "num_threads": 1}, data)
        assert booster.eval_train(), name


def test_labels_that_an_objective_cannot_take_are_a_matter_of_the_data(here: Here) -> None:
    with pytest.raises(DataNotReadable, match=r"'arr_delay' has values from .* binary takes 0 to 1"):
        here.train(spec=spec(objective="binary"))


@pytest.mark.parametrize(
    ("value", "changes", "words"),
    [
        (None, {}, r"file 1\.parquet: the label column 'arr_delay' has 1 empty values; remove"),
        (math.nan, {}, r"file 1\.parquet: the label column 'arr_delay' has 1 empty values; remove"),
        (
            -1.0,
            {"objective": "poisson"},
            r"file 1\.parquet: the label column 'arr_delay' has values from -1 ",
        ),
    ],
)
def test_a_label_that_cannot_be_used_is_told_with_its_file(
    here: Here, value: float | None, changes: dict[str, Any], words: str
) -> None:
    for path in sorted((here.folder / "in/train").glob("*.parquet")):
        table = pq.read_table(path)
        labels = [abs(label) for label in table["arr_delay"].to_pylist()]
        labels[0] = value if path.name == "1.parquet" else labels[0]
        place = table.column_names.index("arr_delay")
        pq.write_table(table.set_column(place, "arr_delay", pa.array(labels, pa.float64())), path)
    with pytest.raises(DataNotReadable, match=r"The data 'train', " + words):
        here.train(spec=spec(**changes))


def test_columns_that_lightgbm_cannot_name_are_a_matter_of_the_data(here: Here) -> None:
    pq.write_table(pa.table({"x[0]": [1.0, 2.0], "arr_delay": [1.0, 2.0]}), here.folder / "odd.parquet")
    with pytest.raises(DataNotReadable, match=r"refuses the columns: .*special JSON characters"):
        here.train(data={"train": {"parquet": {"url": str(here.folder / "odd.parquet")}}})


def test_addresses_that_lightgbm_cannot_use_are_said() -> None:
    with pytest.raises(InvalidSpec, match="address is fd00::1, but LightGBM knows only IPv4 between nodes"):
        network.connect(Gang(0, 2, address="fd00::1"), Collective(0, 2), 60)


def test_threads_and_ports_are_no_part_of_what_a_checkpoint_must_fit() -> None:
    one, two = (Parameters.from_spec(spec(), threads=threads) for threads in (1, 2))
    assert one.identity == two.identity


def test_functions_of_a_caller_are_called_as_lightgbm_does(here: Here) -> None:
    seen: list[int] = []

    def squared(predictions: np.ndarray, dataset: lgb.Dataset) -> tuple[np.ndarray, np.ndarray]:
        return predictions - dataset.get_label(), np.ones_like(predictions)

    def minus_worst(predictions: np.ndarray, dataset: lgb.Dataset) -> tuple[str, float, bool]:
        return "minus_worst", -float(np.abs(predictions - dataset.get_label()).max()), True

    def enough(env: lgb.callback.CallbackEnv) -> None:
        seen.append(env.iteration)
        if env.iteration == 6:
            raise lgb.callback.EarlyStopException(6, env.evaluation_result_list)

    rates = lgb.reset_parameter(learning_rate=[0.3] * 3 + [0.1] * 17)
    hooks = Hooks(objective=squared, metric=minus_worst, callbacks=(enough, rates))
    wanted = spec(earlyStoppingRounds=19)
    final = here.run(framework="lightgbm", spec=wanted, hooks=hooks)
    assert (final.step, seen) == (7, list(range(7)))
    curve = [line["eval-minus_worst"] for line in lines((here.output / "metrics.jsonl").read_text())]
    assert here.result()["bestRound"] == 1 + int(np.argmax(curve))
    assert (
        re.findall(r"shrinkage=(\S+)", here.text())
        == (["0.3"] * 3 + ["0.1"] * 4)[: here.result()["bestRound"]]
    )


def lines(text: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_failing_function_of_the_caller_is_named(here: Here) -> None:
    def broken(predictions: np.ndarray, dataset: lgb.Dataset) -> Any:
        raise ValueError("no such thing")

    for what in ("objective", "metric"):
        with pytest.raises(UserCodeError, match=f"The {what} .*broken raised ValueError: no such thing"):
            here.run(framework="lightgbm", spec=spec(), hooks=Hooks(**{what: broken}), **overwritten(here))
    stopping = Hooks(callbacks=(lgb.early_stopping(3),))
    with pytest.raises(InvalidSpec, match="early_stopping forgets"):
        here.run(framework="lightgbm", spec=spec(), hooks=stopping, **overwritten(here))
