"""Rows that do not fit: binned into files, or refused before any is read."""

from __future__ import annotations

import contextlib
import functools
import gc
import re
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools import budgets
from mlpools.contract.ends import Exit
from mlpools.errors import OutOfMemory
from mlpools.train.lightgbm import memory as lightgbm_memory
from mlpools.train.trees.memory import WORKER_BYTES
from mlpools.train.xgboost.memory import Mode, Size, is_external
from tests.support.flights import spec
from tests.support.many_ranks import train
from tests.support.one_rank import OneRank
from tests.support.pods import read_history, read_json, task

GB = 1 << 30
LARGE = Size(rows=100_000_000, features=50)  # 30 GB of bins, 5 GB beside them


@pytest.mark.parametrize(
    ("mode", "size", "memory", "external"),
    [
        ("auto", LARGE, 60 * GB, False),
        ("auto", LARGE, 8 * GB, True),
        ("never", LARGE, 60 * GB, False),
        ("always", LARGE, 60 * GB, True),
        ("always", Size(rows=10, features=3), GB, True),
        ("auto", Size(rows=10, features=3), GB, False),
    ],
)
def test_files_are_used_where_memory_is_short(mode: Mode, size: Size, memory: int, external: bool) -> None:
    assert is_external(mode, size, memory=memory, disk=100 * GB, nodes=2) is external


@pytest.mark.parametrize(
    ("mode", "memory", "disk", "words"),
    [
        ("auto", 4 * GB, 100 * GB, "need about 5.3 GB of memory, and it may use 4.3 GB: use about 3 nodes"),
        (
            "auto",
            8 * GB,
            20 * GB,
            "need about 30.0 GB of local disk, and it may use 21.5 GB: use about 3 nodes",
        ),
        ("never", 8 * GB, 100 * GB, "need about 35.0 GB of memory, and it may use 8.6 GB: use about 9 nodes"),
        ("auto", GB // 10, 100 * GB, "need about 5.3 GB of memory, and it may use 0.1 GB: use more nodes"),
    ],
)
def test_what_fits_nowhere_is_refused_with_what_would_help(
    mode: Mode, memory: int, disk: int, words: str
) -> None:
    with pytest.raises(OutOfMemory) as caught:
        is_external(mode, LARGE, memory=memory, disk=disk, nodes=2)
    said = str(caught.value)
    assert said.startswith("100,000,000 rows of 50 columns on one rank need about ")
    assert words in said


@given(st.integers(1, 10**9), st.integers(1, 1_000), st.integers(1, 20), st.integers(1, 1 << 42))
def test_more_nodes_are_told_only_where_they_help(
    rows: int, features: int, outputs: int, memory: int
) -> None:
    try:
        is_external("auto", Size(rows, features, outputs), memory=memory, disk=1 << 60, nodes=1)
    except OutOfMemory as error:
        told = re.search(r"use about (\d+) nodes", str(error))
        if told:
            fewer = Size(-(-rows // int(told[1])), features, outputs)
            # Pages that are read ahead do not shrink with the rows.
            assert fewer.external - memory <= Size(0, features).external + 4 * (1 << 18) * features * 6


@pytest.fixture
def here(tmp_path: Path) -> OneRank:
    return OneRank(tmp_path)


def a_sample(columns: int) -> npt.NDArray[np.float64]:
    """A continuous column, and a category in ones and zeros."""
    rng = np.random.default_rng(0)
    ones = np.eye(columns)[rng.integers(0, columns, 2_000)] * rng.random((2_000, 1))
    return np.column_stack([rng.random(2_000), ones])


def test_values_that_share_a_byte_count_once() -> None:
    sample = a_sample(50)
    borders = lgb.Dataset(
        sample, np.zeros(len(sample)), params={"verbose": -1, "min_data_in_bin": 1}
    ).construct()
    assert lightgbm_memory.values_of_a_row(sample, borders) == pytest.approx(0.9 * 2, abs=0.01)


@pytest.mark.parametrize(("rows", "fits"), [(100_000_000, True), (200_000_000, False)])
def test_lightgbm_refuses_what_surely_does_not_fit(rows: int, fits: bool) -> None:
    sample = a_sample(50)
    borders = lgb.Dataset(
        sample, np.zeros(len(sample)), params={"verbose": -1, "min_data_in_bin": 1}
    ).construct()
    # 1.8 bytes of values, and 32 beside them, in each row.
    call = functools.partial(lightgbm_memory.check, sample, borders, other_rows=0, outputs=1, memory=4 * GB)
    with contextlib.nullcontext() if fits else pytest.raises(OutOfMemory, match=r"6\.9 GB .* about 2 nodes"):
        call(train_rows=rows, nodes=1)


def test_lightgbm_s_rows_are_refused_before_they_are_binned(
    here: OneRank, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_budget(monkeypatch, WORKER_BYTES + 30_000)
    section = {"rounds": 3, "objective": "regression", "params": {}, "label": "arr_delay"}
    with pytest.raises(OutOfMemory, match=r"1,250 rows of 4 columns on one rank .* use about 2 nodes") as no:
        here.run(framework="lightgbm", spec=section)
    assert no.value.code == Exit.OUT_OF_MEMORY


def with_budget(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(budgets, "memory", lambda workers=1: memory // workers)


def test_files_give_the_same_model(here: OneRank, monkeypatch: pytest.MonkeyPatch) -> None:
    here.run()
    expected, curve = read_json(here.output / "result.json"), read_history(here.output)
    assert [rank["externalMemory"] for rank in expected["ranks"]] == [False]
    monkeypatch.setattr("mlpools.train.xgboost.matrix.PAGE_ROWS", 300)
    monkeypatch.setattr("mlpools.train.xgboost.memory.PAGE_ROWS", 300)
    with_budget(monkeypatch, Size(1_313, 4).in_memory)  # needs some more to be in memory
    here.run(uid="uid-2", output={"url": str(here.output), "mode": "Overwrite"})
    result = read_json(here.output / "result.json")
    assert [rank["externalMemory"] for rank in result["ranks"]] == [True]
    assert read_history(here.output)["eval-rmse"] == pytest.approx(curve["eval-rmse"], rel=1e-3)


def test_pages_go_with_the_training(here: OneRank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    gc.disable()  # what only a cycle holds would outlive its files, and XGBoost would complain later
    try:
        here.run(spec=spec(externalMemory="always"))
    finally:
        gc.enable()
        gc.collect()
    assert list(scratch.iterdir()) == []


def test_many_ranks_with_files_measure_over_all_rows(tmp_path: Path) -> None:
    data = OneRank(tmp_path).data
    section = spec(rounds=8, label="late", objective="binary:logistic", evalMetrics=["logloss", "auc"])
    found: list[Any] = []
    for mode in ("never", "always"):
        work = task(tmp_path / mode, nodes=2, spec={**section, "externalMemory": mode}, data=data)
        train(work)
        found.append(read_history(tmp_path / mode))
    assert found[1] == {name: pytest.approx(curve, abs=1e-3) for name, curve in found[0].items()}


def test_rows_that_fit_nowhere_are_refused_before_they_are_read(
    here: OneRank, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_budget(monkeypatch, 100 << 20)
    with pytest.raises(
        OutOfMemory, match=r"1,313 rows of 4 columns on one rank need about .* GB of memory"
    ) as no:
        here.run()
    assert no.value.code == Exit.OUT_OF_MEMORY
