"""``DataConnector``: what a user of the library holds in hand."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data import DataConnector, MemorySource, ParquetSource, ShardedDataConnector
from mlpools.data.shard import ShardRows, size_in_memory
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.gang import Gang

TABLE = pa.table({"x": pa.array(range(100), pa.int64()), "c": [f"v{i % 3}" for i in range(100)]})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for i in range(4):
        pq.write_table(TABLE.slice(25 * i, 25), tmp_path / f"{i}.parquet", row_group_size=10)
    return tmp_path


@pytest.fixture(params=["files", "arrow", "pandas", "batch"])
def connector(request: pytest.FixtureRequest, files: Path) -> DataConnector:
    if request.param == "files":
        return DataConnector.from_parquet(f"file://{files}/*.parquet")
    frames = {"arrow": TABLE, "pandas": TABLE.to_pandas(), "batch": TABLE.combine_chunks().to_batches()[0]}
    return DataConnector.from_dataframe(frames[request.param])


def test_all_forms_hold_the_same_rows(connector: DataConnector) -> None:
    assert connector.num_rows == 100
    assert connector.schema.names == ["x", "c"]
    assert connector.to_arrow().to_pydict() == TABLE.to_pydict()
    assert connector.to_arrow(7, columns=["x"]).to_pydict() == {"x": list(range(7))}
    assert connector.to_arrow(0).num_rows == 0
    pd.testing.assert_frame_equal(connector.to_pandas(5), TABLE.slice(0, 5).to_pandas(), check_dtype=False)


def test_batches_cross_files_and_only_the_last_is_short(connector: DataConnector) -> None:
    sizes = [batch.num_rows for batch in connector.to_batches(30)]
    assert sizes == [30, 30, 30, 10]
    assert [batch.num_rows for batch in connector.to_batches(30, drop_last_batch=True)] == [30, 30, 30]
    together = pa.Table.from_batches(connector.to_batches(30, columns=["x"]))
    assert together.column("x").to_pylist() == list(range(100))
    assert sum(batch.num_rows for batch in connector.to_batches()) == 100


def test_a_connector_survives_pickling(connector: DataConnector) -> None:
    again = pickle.loads(pickle.dumps(connector))
    assert again.to_arrow().equals(connector.to_arrow())


def test_a_connector_knows_its_sources(files: Path) -> None:
    assert DataConnector.from_parquet(str(files)).data_sources == [ParquetSource((str(files),))]
    assert DataConnector.from_dataframe(TABLE).data_sources == [MemorySource(TABLE)]
    assert DataConnector.from_sources([str(files / "0.parquet"), str(files / "1.parquet")]).num_rows == 50


def test_a_missing_column_is_named(connector: DataConnector) -> None:
    with pytest.raises(DataNotReadable, match=r"no column 'xx'\. Did you mean 'x'"):
        connector.to_arrow(columns=["xx"])


def test_one_column_may_stand_by_itself(files: Path) -> None:
    of_source = DataConnector.from_parquet(str(files), columns="x")
    assert of_source.schema.names == DataConnector.from_parquet(str(files)).to_arrow(columns="x").column_names
    assert of_source.to_arrow(0, columns="x").column_names == ["x"]


def test_kinds_of_sources_do_not_mix(files: Path) -> None:
    with pytest.raises(InvalidSpec, match="one kind"):
        DataConnector.from_sources([MemorySource(TABLE), str(files)])


@pytest.mark.parametrize("equal", [False, True])
def test_shards_share_the_rows(files: Path, equal: bool) -> None:
    connector = ShardedDataConnector.from_sources(str(files), equal=equal)
    shards = [pickle.loads(pickle.dumps(connector)).get_shard(Gang(rank, 3)) for rank in range(3)]
    rows = [row for shard in shards for row in shard.to_arrow().column("x").to_pylist()]
    assert len(set(rows)) == len(rows) == (99 if equal else 100)
    assert max(s.num_rows for s in shards) - min(s.num_rows for s in shards) <= (0 if equal else 1)


def test_the_calling_rank_gets_its_shard(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    shard = ShardedDataConnector.from_parquet(str(files)).get_shard()
    assert shard.to_arrow().column("x").to_pylist() == list(range(25, 50))


def test_rows_are_read_once_if_they_are_kept_and_the_kernel_counts(files: Path) -> None:
    shard = DataConnector.from_parquet(str(files))
    beats: list[int] = []
    kept = ShardRows(shard, ["x"], keep=True, alive=lambda: beats.append(1))
    streamed = ShardRows(shard, ["x"], keep=False, alive=lambda: None)
    for rows in (kept, streamed):
        assert sum(table.num_rows for table in rows.tables()) == 100
        assert sum(table.num_rows for table in rows.tables()) == 100
    assert len(beats) == 12
    assert kept.bytes_read > 100
    assert streamed.bytes_read >= 1.9 * kept.bytes_read
    assert kept.facts()["rowGroups"] == [[g, 0, r] for g, r in enumerate([10, 10, 5] * 4)]


def test_the_size_in_memory_is_about_right() -> None:
    connector = DataConnector.from_dataframe(TABLE)
    assert size_in_memory(connector, ["x"]) == 800
    assert size_in_memory(connector, ["x", "c"]) > 800


@pytest.mark.parametrize("size", [0, -1, 2.5, "8"])
def test_a_batch_size_that_is_no_number_of_rows_is_refused_at_once(size: Any) -> None:
    connector = DataConnector.from_dataframe(TABLE)
    for begin in (connector.to_batches, lambda it: connector.to_torch_dataset(batch_size=it)):
        with pytest.raises(InvalidSpec, match=f"whole number above 0, not {size!r}"):
            begin(size)


@pytest.mark.parametrize("limit", [-1, 0.5])
def test_a_limit_that_is_no_number_of_rows_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidSpec, match=f"whole number of rows, not {limit!r}"):
        DataConnector.from_dataframe(TABLE).to_pandas(limit)


@pytest.mark.parametrize(
    ("package", "output"),
    [
        ("torch", lambda connector: connector.to_torch_dataset()),
        ("tensorflow", lambda connector: connector.to_tf_dataset(batch_size=8)),
        ("datasets", lambda connector: connector.to_huggingface_dataset()),
        ("ray", lambda connector: connector.to_ray_dataset()),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, output: Callable[[DataConnector], object]
) -> None:
    module = {"datasets": "huggingface"}.get(package, package)
    for name in [name for name in sys.modules if name.startswith(f"mlpools.data.outputs.{module}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidSpec, match=f"needs the package {package}, .*: pip install {package}"):
        output(DataConnector.from_dataframe(TABLE))
