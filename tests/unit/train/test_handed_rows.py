"""What a caller has, as data that ranks in other processes read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.contract.reports import Report
from mlpools.data import ArrowIngestor, DataConnector, ShardedDataConnector
from mlpools.data.planned import PlannedSource
from mlpools.data.sources import from_spec
from mlpools.errors import DataNotReadable, InvalidSpec, OutOfMemory, WorkerCrashed
from mlpools.gang import Gang
from mlpools.train import XGBEstimator, XGBScalingConfig
from mlpools.train.estimators import handing
from mlpools.train.estimators.gangs import check_memory, workers_here
from mlpools.train.estimators.narrator import Narrator, shown
from mlpools.train.estimators.predicting import with_column
from mlpools.train.estimators.rows import Roles, connected, held_out, is_labels, labelled

TABLE = pa.table({"a": [1.0, 2.0], "b": [3, 4]})


def numbers(rows: int) -> pa.Table:
    return pa.table({"x": range(rows), "spare": range(rows)})


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 400), ranks=st.integers(1, 12), batch=st.integers(3, 200))
def test_each_rank_reads_its_own_file_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, rows: int, ranks: int, batch: int
) -> None:
    """In a Ray cluster a node has the files of its ranks only."""
    folder = tmp_path_factory.mktemp("rows") / "train"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handing, "_BATCH_ROWS", batch)
        plan = handing.plan_of(DataConnector.from_dataframe(numbers(rows)), folder, ranks, ["x"])
    assert plan.schema.names == ["x"]
    seen: list[int] = []
    for rank in range(ranks):
        shard = ShardedDataConnector(ArrowIngestor([], plan)).get_shard(Gang(rank, ranks))
        files = {plan.units[part.group][0].name for part in shard.ranges}
        assert files <= {f"{rank:05d}.arrow"}
        seen += [x for table in shard.to_tables() for x in table["x"].to_pylist()]
    assert seen == list(range(rows))


def test_files_are_read_where_they_are_and_parts_of_them_laid_down(tmp_path: Path) -> None:
    pq.write_table(numbers(100), tmp_path / "x.parquet", row_group_size=10)
    whole = ShardedDataConnector.from_parquet(str(tmp_path / "x.parquet"))
    assert handing.plan_of(whole, tmp_path / "whole", 2, None) is whole.plan
    assert not (tmp_path / "whole").exists()
    part = handing.plan_of(whole.get_shard(Gang(1, 2)), tmp_path / "part", 2, None)
    assert part.num_rows == 50
    assert (tmp_path / "part").is_dir()
    with pytest.raises(DataNotReadable, match="no rows"):
        handing.plan_of(DataConnector.from_dataframe(TABLE.slice(0, 0)), tmp_path / "none", 1, None)


def test_a_plan_in_a_file_is_a_source(tmp_path: Path) -> None:
    plan = handing.plan_of(DataConnector.from_dataframe(TABLE), tmp_path / "rows", 1, None)
    (tmp_path / "train.plan").write_text(plan.to_json())
    source = from_spec("train", {"plan": {"url": f"file://{tmp_path}/train.plan"}})
    assert isinstance(source, PlannedSource)
    assert source.plan() == plan
    with pytest.raises(InvalidSpec, match=r"data\.train\.plan has its columns, filter and limit already"):
        from_spec("train", {"plan": {"url": "/x"}, "limit": 3})
    with pytest.raises(InvalidSpec, match=r"data\.train\.plan needs url"):
        from_spec("train", {"plan": {}})


def test_labels_are_told_from_names() -> None:
    assert not any(map(is_labels, (None, "a", ["a", "b"], ("a",), [])))
    assert all(map(is_labels, ([1, 2], np.zeros(2), pd.Series([1.0]), pa.array([1]))))


@pytest.mark.parametrize(
    ("features", "label", "columns"),
    [
        (np.array([[1.0, 3.0], [2.0, 4.0]]), [0, 1], ["f0", "f1", "label"]),
        (TABLE, np.array([0, 1]), ["a", "b", "label"]),
        (TABLE.to_pandas(), pd.Series([0, 1], name="y"), ["a", "b", "y"]),
        (TABLE, pa.chunked_array([[0], [1]]), ["a", "b", "label"]),
    ],
)
def test_labels_become_a_column(features: Any, label: Any, columns: list[str]) -> None:
    connector, roles = labelled(features, label)
    assert connector.schema.names == columns
    assert (roles.label, list(roles.features)) == (columns[-1], columns[:-1])
    assert connector.to_arrow()[columns[-1]].to_pylist() == [0, 1]


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataNotReadable, match=r"one value for each of the 2 rows, but has shape \(3,\)"):
        labelled(TABLE, [1, 2, 3])
    with pytest.raises(InvalidSpec, match="The label is named 'a' as a feature is"):
        labelled(TABLE, pd.Series([0, 1], name="a"))
    with pytest.raises(InvalidSpec, match="name their column with label_col"):
        labelled(DataConnector.from_dataframe(TABLE), [0, 1])
    with pytest.raises(DataNotReadable, match=r"shape \[rows, columns\], not \(2,\)"):
        connected(np.zeros(2))


def test_sets_that_are_held_out_have_names() -> None:
    roles = Roles("b", ("a",))
    assert roles.all == ["a", "b"]
    assert held_out(None, roles, with_labels=False) == {}
    assert list(held_out(TABLE, roles, with_labels=False)) == ["eval"]
    assert list(held_out([TABLE, TABLE], roles, with_labels=False)) == ["eval", "eval_1"]
    assert list(held_out({"night": TABLE}, roles, with_labels=False)) == ["night"]
    [pair] = held_out([(TABLE.select(["a"]), [5, 6])], roles, with_labels=True).values()
    assert pair.to_arrow().to_pydict() == {"a": [1.0, 2.0], "b": [5, 6]}
    with pytest.raises(InvalidSpec, match="a pair"):
        held_out(TABLE, roles, with_labels=True)
    with pytest.raises(InvalidSpec, match="cannot be named train"):
        held_out({"train": TABLE}, roles, with_labels=False)


def test_predictions_of_several_classes_are_lists() -> None:
    table = with_column(TABLE, np.array([[0.25, 0.75], [0.5, 0.5]]), "p")
    assert table["p"].to_pylist() == [[0.25, 0.75], [0.5, 0.5]]
    assert table.schema.field("p").type == pa.list_(pa.float64(), 2)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("mlpools: round 3 of 9, eval-rmse 2", "round 3 of 9, eval-rmse 2"),
        ("mlpools: rank 0 ended with DONE.", None),
        ("[07:26:37] Task 000000 got rank 0[07:26:37] Task 000001 got rank 1", None),
        ("", None),
        ("[LightGBM] [Info] Listening...", None),
        ("WARNING: something of a library", "WARNING: something of a library"),
    ],
)
def test_a_caller_sees_what_concerns_the_caller(line: str, told: str | None) -> None:
    assert shown(line) == told


def test_rounds_are_told_on_demand_and_the_last_lines_after_a_crash(
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet, loud = Narrator(None), Narrator(1)
    for narrator in (quiet, loud):
        narrator.line(0, "mlpools: round 3 of 9")
        narrator.line(0, "free(): invalid pointer")
    assert capsys.readouterr().out == "free(): invalid pointer\nround 3 of 9\nfree(): invalid pointer\n"
    with pytest.raises(WorkerCrashed) as caught, quiet.failing():
        raise WorkerCrashed("The process of rank 0 was killed by SIGABRT.")
    assert caught.value.__notes__[0].endswith("mlpools: round 3 of 9\nfree(): invalid pointer")


def test_who_watches_sees_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("mlpools.data.progress.is_watched", lambda: True)
    with Narrator(None) as narrator:
        narrator.report(Report("Data"))
        narrator.report(Report("Working", step=3, total_steps=9, metrics={"eval-rmse": 2.5}))
        narrator.report(Report("Working", step=9, total_steps=9, metrics={"eval-rmse": 1.5}))
    assert "Training" in (told := capsys.readouterr().err)
    assert "eval-rmse=1.5" in told
    with Narrator(5) as narrator:
        narrator.report(Report("Working", step=3, total_steps=9))
    assert capsys.readouterr().err == ""


def test_each_worker_of_this_machine_has_a_gpu_if_it_wants_one() -> None:
    assert [workers_here(-1, None), workers_here(3, None)] == [1, 3]
    assert [workers_here(-1, 2), workers_here(1, 2)] == [2, 1]
    for asked, gpus in ((-1, 0), (3, 2)):
        with pytest.raises(InvalidSpec, match=rf"with a GPU each are asked for; this machine has {gpus}\."):
            workers_here(asked, gpus)


def test_more_workers_than_memory_holds_are_refused_before_they_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_memory(1, 50 << 20)
    check_memory(80, 8 << 30)
    with pytest.raises(
        OutOfMemory, match=r"^300 workers do not fit .* memory.*: use 81 or fewer, or a Ray cl"
    ):
        check_memory(300, 8 << 30)
    monkeypatch.setattr("mlpools.budgets.memory", lambda: 150 << 20)
    estimator = XGBEstimator(scaling_config=XGBScalingConfig(num_workers=2))
    with pytest.raises(OutOfMemory, match="2 workers do not fit into this machine's memory"):
        estimator.fit(pa.table({"x": [1.0], "y": [1.0]}), label_col="y")
