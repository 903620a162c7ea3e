"""Epochs of a connector: which comes next, in which order, and where it goes on after a stop."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.contract.wiring import CACHE_ENV
from mlpools.data import DataConnector, ShardedDataConnector, mixing, sizes
from mlpools.data.formats import parquet
from mlpools.data.sharding import RowRange
from mlpools.errors import InvalidSpec
from mlpools.gang import Gang

ROWS = 400


@pytest.fixture
def files(tmp_path: Path) -> str:
    for i in range(4):
        rows = pa.table({"row": range(100 * i, 100 * i + 100), "text": [f"t{n}" for n in range(100)]})
        pq.write_table(rows, tmp_path / f"{i}.parquet", row_group_size=30)
    return str(tmp_path)


def numbers(batches: Iterator[pa.RecordBatch]) -> list[int]:
    return [row for batch in batches for row in batch.column("row").to_pylist()]


def shards(files: str, world: int, **options: Any) -> list[DataConnector]:
    connector = ShardedDataConnector.from_sources(files, **options)
    return [connector.get_shard(Gang(rank=rank, world_size=world)) for rank in range(world)]


def test_each_shuffled_iteration_is_the_next_epoch(files: str) -> None:
    connector = DataConnector.from_parquet(files)
    first, second = (numbers(connector.to_batches(32, shuffle=True)) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert first != second
    assert numbers(DataConnector.from_parquet(files).to_batches(32, shuffle=True)) == first
    assert numbers(connector.to_batches(32, shuffle=True, epoch=0)) == first
    assert numbers(connector.to_batches(32, shuffle=True)) == second
    connector.set_epoch(1)
    assert numbers(connector.to_batches(32, shuffle=True)) == second
    assert numbers(connector.to_batches(32, shuffle=True, epoch=0, seed=1)) != first


def test_batches_keep_columns_together(files: str) -> None:
    for batch in DataConnector.from_parquet(files).to_batches(32, shuffle=True, columns=["text", "row"]):
        assert batch.schema.names == ["text", "row"]
        assert all(f"t{row % 100}" == text for text, row in zip(*batch.to_pydict().values(), strict=True))


def test_a_shuffle_deals_all_rows_to_the_ranks_anew(files: str) -> None:
    ranks = shards(files, 3)
    epochs = [[frozenset(numbers(rank.to_batches(32, shuffle=True))) for rank in ranks] for _ in range(4)]
    assert all(sorted(row for part in parts for row in part) == list(range(ROWS)) for parts in epochs)
    assert len({parts[0] for parts in epochs}) > 1


def test_without_shuffle_a_shard_is_what_it_reads_as_a_table(files: str) -> None:
    for rank in shards(files, 3):
        assert numbers(rank.to_batches(32)) == rank.to_arrow().column("row").to_pylist()


def test_equal_shards_leave_out_other_rows_each_epoch_and_say_so(
    files: str, caplog: pytest.LogCaptureFixture
) -> None:
    ranks = shards(files, 3, equal=True)
    with caplog.at_level(logging.INFO, "mlpools.data"):
        epochs = [[numbers(rank.to_batches(10, shuffle=True)) for rank in ranks] for _ in range(6)]
    assert all(len(rows) == ROWS // 3 for ranks_rows in epochs for rows in ranks_rows)
    left_out = [set(range(ROWS)) - {row for rows in parts for row in rows} for parts in epochs]
    assert all(len(rows) == 1 for rows in left_out)
    assert len({min(rows) for rows in left_out}) > 1
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("Epoch 0 leaves out 1 of 400 rows, so that all 3 ranks have equally many")
    assert len(said) == 6


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_stop_loses_and_repeats_nothing_with_another_number_of_ranks(files: str, shuffle: bool) -> None:
    before, states = [], []
    for rank in shards(files, 3, seed=5):
        batches = rank.to_batches(16, shuffle=shuffle)
        before += numbers(next(batches) for _ in range(4))
        states.append(json.loads(json.dumps(rank.state_dict())))
    after, next_epoch = [], []
    for rank in shards(files, 2, seed=5):
        rank.load_state_dict(states)
        after += numbers(rank.to_batches(16, shuffle=shuffle))
        next_epoch += numbers(rank.to_batches(16, shuffle=shuffle))
    assert sorted(before + after) == sorted(next_epoch) == list(range(ROWS))


def test_a_stop_between_epochs_goes_on_with_the_next(files: str) -> None:
    connector = DataConnector.from_parquet(files)
    numbers(connector.to_batches(100, shuffle=True))
    again = DataConnector.from_parquet(files)
    again.load_state_dict([connector.state_dict()])
    assert numbers(again.to_batches(100, shuffle=True)) == []
    assert numbers(again.to_batches(100, shuffle=True)) == numbers(connector.to_batches(100, shuffle=True))


def test_a_loop_that_sets_its_epoch_goes_on_within_it(files: str) -> None:
    connector = DataConnector.from_parquet(files)
    connector.set_epoch(3)
    batches = connector.to_batches(50, shuffle=True)
    before = numbers(next(batches) for _ in range(2))
    again = DataConnector.from_parquet(files)
    again.load_state_dict(connector.state_dict())
    again.set_epoch(3)
    assert before + numbers(again.to_batches(50, shuffle=True)) == numbers(
        connector.to_batches(50, shuffle=True, epoch=3)
    )
    assert len(numbers(again.to_batches(50, shuffle=True, epoch=3))) == ROWS


def test_a_state_of_other_data_is_refused(files: str, tmp_path: Path) -> None:
    connector = DataConnector.from_parquet(files)
    next(connector.to_batches(50))
    pq.write_table(pa.table({"row": [1], "text": ["x"]}), tmp_path / "4.parquet")
    other = DataConnector.from_parquet(files)
    other.load_state_dict(connector.state_dict())
    with pytest.raises(InvalidSpec, match="other data"):
        next(other.to_batches(50))
    with pytest.raises(InvalidSpec, match="no state"):
        other.load_state_dict([])


def test_a_state_without_an_iteration_is_refused(files: str) -> None:
    connector = DataConnector.from_parquet(files)
    with pytest.raises(InvalidSpec, match=r"connector\.track"):
        connector.state_dict()


def test_a_connector_is_pickled_with_its_epoch(files: str) -> None:
    connector = DataConnector.from_parquet(files)
    next(connector.to_batches(50, shuffle=True))
    again = pickle.loads(pickle.dumps(connector))
    assert numbers(again.to_batches(50, shuffle=True)) == numbers(connector.to_batches(50, shuffle=True))


def test_rows_that_come_in_another_order_each_time_have_no_state(files: str) -> None:
    connector = DataConnector.from_parquet(files)
    connector._ingestor.repeatable = False  # type: ignore[attr-defined]
    next(connector.to_batches(10))
    with pytest.raises(InvalidSpec, match="another order each time"):
        connector.state_dict()


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_shard_without_rows_gives_nothing(shuffle: bool) -> None:
    connector = ShardedDataConnector.from_dataframe(pa.table({"row": [0, 1]}))
    found = [
        numbers(connector.get_shard(Gang(rank=rank, world_size=5)).to_batches(3, shuffle=shuffle))
        for rank in range(5)
    ]
    assert sorted(found, key=len)[:3] == [[], [], []]
    assert sorted(row for rows in found for row in rows) == [0, 1]


def test_shuffled_batches_need_a_size(files: str) -> None:
    with pytest.raises(InvalidSpec, match="batch_size"):
        DataConnector.from_parquet(files).to_batches(shuffle=True)


class Uncounted:
    """Rows that nobody has counted, as those of a text file."""

    data_sources: list[Any] = []  # noqa: RUF012
    schema = pa.schema([("row", pa.int64())])

    @property
    def group_rows(self) -> list[int]:
        raise AssertionError("The rows need not be counted.")

    def read(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        assert ranges is None
        yield from (pa.table({"row": range(start, start + 7)}) for start in (0, 7, 14))


def test_rows_are_not_counted_to_read_all_of_them_in_order() -> None:
    connector = DataConnector(Uncounted())  # type: ignore[arg-type]
    assert numbers(connector.to_batches(5)) == list(range(21))
    assert numbers(connector.to_batches(5, drop_last_batch=True)) == list(range(20))


def test_whole_row_groups_in_small_windows_are_said_to_mix_badly_once(
    files: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mixing, "_WINDOW_BYTES", 60 * 8)
    connector = DataConnector.from_parquet(files)
    for _ in range(2):
        assert sorted(numbers(connector.to_batches(10, shuffle=True, columns=["row"]))) == list(range(ROWS))
    (record,) = caplog.records
    assert "in windows of 60 rows" in record.getMessage()
    assert "MLPOOLS_CACHE" in record.getMessage()


def test_slices_are_spread_where_small_ranges_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "_WINDOW_BYTES", 4096 * 8)
    connector = DataConnector.from_dataframe(pa.table({"row": range(40_000)}))
    chosen = mixing.Mixing.choose(connector._ingestor, ["row"], 40_000)
    assert chosen == mixing.Mixing(4096, mixing.SLICE_ROWS)
    found = numbers(connector.to_batches(500, shuffle=True))
    assert sorted(found) == list(range(40_000))
    assert max(found[:500]) > 30_000
    assert min(found[:500]) < 10_000


@pytest.mark.parametrize("cache", [True, None, False])
def test_batches_of_sorted_files_are_like_random_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cache: bool | None
) -> None:
    """64 row groups sorted by label, in windows of a tenth of the rows; without a cache it is said.

    In a pod, which has a cache folder, a shuffle uses it without being told.
    """
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    monkeypatch.setattr(mixing, "_WINDOW_BYTES", 8 * 52_000)
    rows = 64 * 8192
    pq.write_table(pa.table({"row": range(rows)}), tmp_path / "0.parquet", row_group_size=8192)
    connector = DataConnector.from_sources(f"{tmp_path}/*.parquet", cache=cache)
    worst = 0.0
    for _ in range(3):
        batches = [batch.column(0).to_numpy() for batch in connector.to_batches(8192, shuffle=True)]
        assert (np.sort(np.concatenate(batches)) == np.arange(rows)).all()
        worst = max(worst, *(abs(np.mean(batch < rows // 2) - 0.5) for batch in batches))
    assert (worst < 5 * 0.5 / 8192**0.5) == (cache is not False)
    assert any("mixes better" in record.getMessage() for record in caplog.records) == (cache is False)


def test_a_window_is_counted_in_bytes_of_memory(files: str) -> None:
    connector = DataConnector.from_parquet(files)
    assert sizes.stored_row_bytes(connector._ingestor, ["row"]) == 8
    assert sizes.stored_row_bytes(connector._ingestor, ["row", "text"]) >= 8 + 32


def test_a_row_group_is_decoded_once_for_ranges_that_follow_on_one_another(
    files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    (reader,) = {kind for kind in vars(parquet).values() if hasattr(kind, "read") and hasattr(kind, "close")}
    read = reader.read

    def counted(self: Any, unit: Any, *args: Any) -> Any:
        decoded.append(unit.start)
        return read(self, unit, *args)

    monkeypatch.setattr(reader, "read", counted)
    connector = DataConnector.from_parquet(files)
    ranges = [
        RowRange(1, 0, 10),
        RowRange(1, 10, 12),
        RowRange(1, 20, 30),
        RowRange(2, 5, 6),
        RowRange(1, 0, 1),
    ]
    rows = [row for table in connector._ingestor.read(ranges, ["row"]) for row in table.column(0).to_pylist()]
    assert rows == [*range(30, 42), *range(50, 60), 65, 30]
    assert len(decoded) == 3
