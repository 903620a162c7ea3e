"""Rows to and from Ray: read by its workers, and exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import ray.data

from mlpools.data import DataConnector, ShardedDataConnector
from mlpools.errors import InvalidSpec
from mlpools.gang import Gang

ROWS = 1_000
TABLE = pa.table({"x": range(ROWS), "t": [f"v{i}" for i in range(ROWS)]})


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for i in range(4):
        pq.write_table(TABLE.slice(250 * i, 250), tmp_path / f"{i}.parquet", row_group_size=100)
    return tmp_path


def numbers(connector: DataConnector) -> list[int]:
    return [x for table in connector.to_tables(["x"]) for x in table.column("x").to_pylist()]


def test_ray_s_workers_read_the_row_groups(files: Path) -> None:
    connector = DataConnector.from_parquet(f"{files}/*.parquet")
    dataset = connector.to_ray_dataset()
    assert dataset.schema().base_schema.names == ["x", "t"]
    blocks = dataset.materialize()
    assert blocks.num_blocks() > 1
    rows = sorted((row["x"], row["t"]) for row in blocks.iter_rows())
    assert rows == [(i, f"v{i}") for i in range(ROWS)]


def test_a_lazy_data_set_reads_nothing_before_its_use(files: Path) -> None:
    dataset = DataConnector.from_parquet(f"{files}/*.parquet").to_ray_dataset()
    (files / "3.parquet").unlink()
    with pytest.raises(Exception, match=r"3\.parquet"):
        dataset.materialize()


def test_a_shard_and_a_table_in_memory_become_data_sets(files: Path) -> None:
    shard = ShardedDataConnector.from_parquet(f"{files}/*.parquet").get_shard(Gang(1, 3))
    assert sorted(row["x"] for row in shard.to_ray_dataset().iter_rows()) == numbers(shard)
    assert DataConnector.from_dataframe(TABLE).to_ray_dataset().sum("x") == sum(range(ROWS))
    assert DataConnector.from_dataframe(TABLE.slice(0, 0)).to_ray_dataset().count() == 0


def test_a_ray_dataset_is_streamed_exactly_once_each_epoch() -> None:
    connector = DataConnector.from_ray_dataset(
        ray.data.range(ROWS, override_num_blocks=7).rename_columns(["x"])
    )
    assert connector.schema.names == ["x"]
    assert repr(connector) == "<DataConnector of RayIngestor: rows not counted, 1 column>"
    for _ in range(2):
        assert sorted(numbers(connector)) == list(range(ROWS))
    assert sum(batch.num_rows for batch in connector.to_batches(64)) == ROWS
    assert connector.num_rows == ROWS
    assert connector.to_ray_dataset().count() == ROWS


def test_frames_of_pandas_in_ray_have_arrow_s_types() -> None:
    connector = DataConnector.from_ray_dataset(ray.data.from_pandas(TABLE.to_pandas()))
    assert connector.schema.field("x").type == pa.int64()
    assert numbers(connector) == list(range(ROWS))
    assert connector.to_arrow(3, columns=["t"]).to_pydict() == {"t": ["v0", "v1", "v2"]}


@pytest.mark.parametrize("equal", [False, True])
def test_shards_of_a_ray_dataset_share_its_rows(equal: bool) -> None:
    dataset = ray.data.range(ROWS, override_num_blocks=7).rename_columns(["x"])
    connector = ShardedDataConnector.from_ray_dataset(dataset, equal=equal)
    shards = [numbers(connector.get_shard(Gang(rank, 3))) for rank in range(3)]
    rows = [x for shard in shards for x in shard]
    assert len(set(rows)) == len(rows) == (999 if equal else ROWS)
    assert connector.get_shard(Gang(0, 3)).to_ray_dataset().count() == len(shards[0])
    assert max(map(len, shards)) - min(map(len, shards)) <= (0 if equal else 50)


def test_sources_are_not_read_through_ray(files: Path) -> None:
    from mlpools.data.ray_ingestor import RayIngestor

    with pytest.raises(InvalidSpec, match=r"use DataConnector\.from_ray_dataset"):
        DataConnector.from_sources(str(files), ingestor_class=RayIngestor)
