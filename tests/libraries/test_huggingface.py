"""Data sets of Hugging Face: in memory and streamed, alone and by the workers of a loader."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from mlpools.data import DataConnector
from mlpools.errors import DataNotReadable

TABLE = pa.table({"x": range(100), "t": [f"v{i}" for i in range(100)]})


@pytest.fixture
def connector(tmp_path: Path) -> DataConnector:
    for i in range(4):
        pq.write_table(TABLE.slice(25 * i, 25), tmp_path / f"{i}.parquet", row_group_size=10)
    return DataConnector.from_parquet(str(tmp_path))


def test_all_rows_in_memory(connector: DataConnector) -> None:
    dataset = connector.to_huggingface_dataset()
    assert isinstance(dataset, datasets.Dataset)
    assert dataset.features == {"x": datasets.Value("int64"), "t": datasets.Value("string")}
    assert dataset["x"][:] == list(range(100))
    assert dataset[7] == {"x": 7, "t": "v7"}
    assert connector.to_huggingface_dataset(limit=12, columns=["t"])[11] == {"t": "v11"}
    assert len(connector.to_huggingface_dataset(limit=0)) == 0
    assert len(connector.to_huggingface_dataset(batch_size=30, drop_last_batch=True)) == 90


def test_a_shuffle_holds_the_first_rows_of_a_limit_once(connector: DataConnector) -> None:
    for streaming in (False, True):
        dataset = connector.to_huggingface_dataset(shuffle=True, limit=33, streaming=streaming, batch_size=8)
        found = [row["x"] for row in dataset]
        assert sorted(found) == list(range(33))
        assert found != sorted(found)


def test_streams_read_when_they_are_iterated(connector: DataConnector, tmp_path: Path) -> None:
    dataset = connector.to_huggingface_dataset(streaming=True, batch_size=8)
    assert [row["x"] for row in dataset] == list(range(100))
    tables = list(dataset.with_format("arrow").iter(batch_size=50))
    assert [table.num_rows for table in tables] == [50, 50]
    (tmp_path / "0.parquet").unlink()
    with pytest.raises(DataNotReadable, match=r"0\.parquet"):
        next(iter(dataset))


def test_each_iteration_of_a_shuffled_stream_is_another_epoch(connector: DataConnector) -> None:
    dataset = connector.to_huggingface_dataset(streaming=True, shuffle=True, batch_size=10)
    first, second = ([row["x"] for row in dataset] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_workers_of_a_loader_share_the_rows(connector: DataConnector, shuffle: bool) -> None:
    dataset = connector.to_huggingface_dataset(streaming=True, batch_size=10, shuffle=shuffle)
    assert dataset.num_shards == (1 if shuffle else 12)
    loader = DataLoader(dataset.with_format("torch"), batch_size=7, num_workers=2)
    first, second = ([int(x) for batch in loader for x in batch["x"]] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first != second) == shuffle


def test_a_stream_goes_on_where_its_own_state_says(connector: DataConnector) -> None:
    dataset = connector.to_huggingface_dataset(streaming=True, batch_size=10)
    rows = iter(dataset)
    seen = [next(rows)["x"] for _ in range(37)]
    state = dataset.state_dict()
    again = connector.to_huggingface_dataset(streaming=True, batch_size=10)
    again.load_state_dict(state)
    assert seen + [row["x"] for row in again] == list(range(100))


def test_columns_without_a_feature_are_refused() -> None:
    odd = DataConnector.from_dataframe(pa.table({"n": pa.array([None], pa.month_day_nano_interval())}))
    with pytest.raises(DataNotReadable, match="Hugging Face datasets cannot hold these columns"):
        odd.to_huggingface_dataset()
