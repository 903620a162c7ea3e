"""``to_torch_dataset``: what a DataLoader gets of it, with and without workers, before and after a stop."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader, get_worker_info

from mlpools.data import DataConnector, ShardedDataConnector, mixing, order
from mlpools.errors import InvalidSpec
from mlpools.gang import Gang
from tests.support.tensor_forms import ARRAYS

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

ROWS = 1300


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    for i in range(4):
        numbers = np.arange(325 * i, 325 * (i + 1))
        rows = {"row": numbers, "half": (numbers / 2).astype("f4"), "text": [f"t{n}" for n in numbers]}
        pq.write_table(pa.table(rows), folder / f"{i}.parquet", row_group_size=60)
    return str(folder)


@pytest.fixture
def connector(files: str) -> DataConnector:
    return DataConnector.from_parquet(files)


def loader(dataset: Any, workers: int = 0, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=None, num_workers=workers, **options)


def rows(batches: Any) -> list[list[int]]:
    return [batch["row"].tolist() for batch in batches]


def flat(batches: Any) -> list[int]:
    return [row for batch in rows(batches) for row in batch]


def test_batches_are_dictionaries_of_tensors(connector: DataConnector) -> None:
    batch = next(iter(loader(connector.to_torch_dataset(batch_size=4))))
    assert batch["row"].tolist() == [0, 1, 2, 3]
    assert (batch["half"].dtype, batch["half"].tolist()) == (torch.float32, [0.0, 0.5, 1.0, 1.5])
    assert batch["text"] == ["t0", "t1", "t2", "t3"]


def test_columns_are_stacked_and_chosen(connector: DataConnector) -> None:
    dataset = connector.to_torch_dataset(batch_size=3, columns=["half", "row"], stack={"x": ["row", "half"]})
    batch = next(iter(dataset))
    assert batch["x"].tolist() == [[0, 0], [1, 0.5], [2, 1]]
    assert list(batch) == ["x"]


def test_changing_a_batch_in_place_changes_nothing_else() -> None:
    table = pa.table({"row": np.arange(8.0)})
    dataset = DataConnector.from_dataframe(table).to_torch_dataset(batch_size=4)
    for batch in dataset:
        batch["row"].sub_(100)
    assert table.column("row").to_pylist() == list(range(8))


def test_workers_send_a_batch_once_and_nothing_of_its_row_group(connector: DataConnector) -> None:
    dataset = connector.to_torch_dataset(batch_size=10, stack={"x": ["half"]}, fill={"text": "?"})
    whole, sent = next(iter(dataset)), next(iter(loader(dataset, 1)))
    assert type(sent) is dict
    assert torch.equal(sent["x"], whole["x"])
    assert torch.equal(sent["row"], whole["row"])
    assert sent["text"] == whole["text"]
    memory = {
        value.untyped_storage().data_ptr(): value.untyped_storage() for value in (sent["x"], sent["row"])
    }
    assert [each.nbytes() for each in memory.values()] == [64 + 128]


def add_double(batch: dict[str, Any]) -> dict[str, Any]:
    batch["half"] = batch["half"] * 2
    return {**batch, "kept": batch} if len(batch["text"]) == 1 else batch


@pytest.mark.parametrize("size", [1, 7])
def test_what_a_collate_fn_changes_arrives(connector: DataConnector, size: int) -> None:
    dataset = connector.to_torch_dataset(batch_size=size)
    first = next(iter(loader(dataset, 1, collate_fn=add_double)))
    assert first["half"].tolist() == first["row"].tolist() == list(range(size))
    assert first.get("kept", first)["text"] == [f"t{i}" for i in range(size)]


def test_batches_without_numbers_come_from_workers(connector: DataConnector) -> None:
    dataset = connector.to_torch_dataset(batch_size=2, columns=["text"])
    assert next(iter(loader(dataset, 1))) == {"text": ["t0", "t1"]}


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 2, 3, 4])
def test_batches_do_not_depend_on_workers(connector: DataConnector, workers: int, shuffle: bool) -> None:
    dataset = connector.to_torch_dataset(batch_size=99, shuffle=shuffle, drop_last_batch=False)
    batches = rows(loader(dataset, workers))
    assert [len(batch) for batch in batches] == [99] * 13 + [13]
    assert sorted(row for batch in batches for row in batch) == list(range(ROWS))


def test_batches_that_are_kept_stay_as_they_are(
    connector: DataConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixing, "_WINDOW_BYTES", 10_000)
    monkeypatch.setattr(order, "_CHUNK_ROWS", 50)
    dataset = connector.to_torch_dataset(batch_size=10, shuffle=True, columns=["row"], drop_last_batch=False)
    kept = list(dataset) + list(dataset)
    assert sorted(flat(kept)) == sorted([*range(ROWS), *range(ROWS)])


def test_workers_can_be_spawned(connector: DataConnector) -> None:
    dataset = connector.to_torch_dataset(batch_size=100, shuffle=True, drop_last_batch=False)
    spawned = loader(dataset, 2, multiprocessing_context="spawn")
    first = flat(spawned)
    assert sorted(first) == list(range(ROWS))
    dataset.set_epoch(0)
    assert flat(loader(dataset, 2)) == first


def test_the_last_short_batch_is_dropped_by_default(connector: DataConnector) -> None:
    assert [len(batch) for batch in rows(loader(connector.to_torch_dataset(batch_size=99), 2))] == [99] * 13


def test_single_rows_are_squeezed(connector: DataConnector) -> None:
    first, *others = loader(connector.to_torch_dataset(), 2)
    assert (first["row"].shape, first["text"]) == (torch.Size([]), "t0")
    assert sorted(row["row"].item() for row in [first, *others]) == list(range(ROWS))
    batched = DataLoader(connector.to_torch_dataset(columns=["row"]), batch_size=50)
    assert next(iter(batched))["row"].tolist() == list(range(50))


@pytest.mark.parametrize(("workers", "persist"), [(0, False), (2, False), (2, True)])
def test_each_iteration_is_the_next_epoch(connector: DataConnector, workers: int, persist: bool) -> None:
    dataset = connector.to_torch_dataset(batch_size=100, shuffle=True)
    batches = loader(dataset, workers, persistent_workers=persist)
    epochs = [flat(batches) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs)
    dataset.set_epoch(1)
    assert flat(batches) == epochs[1]


def test_an_iteration_that_is_given_up_counts_as_an_epoch(connector: DataConnector) -> None:
    batches = loader(connector.to_torch_dataset(batch_size=100, shuffle=True), 3)
    for _ in range(3):
        next(iter(batches))
        assert sorted(flat(batches)) == list(range(ROWS))


def test_ranks_get_equally_many_rows_by_default(files: str) -> None:
    sharded = ShardedDataConnector.from_sources(files)
    ranks = [sharded.get_shard(Gang(rank=rank, world_size=7)) for rank in range(7)]
    found = [
        flat(loader(rank.to_torch_dataset(batch_size=10, shuffle=True, drop_last_batch=False), 2))
        for rank in ranks
    ]
    assert {len(part) for part in found} == {ROWS // 7}
    assert len({row for part in found for row in part}) == ROWS // 7 * 7


def interrupt(batches: Any, steps: int) -> list[list[int]]:
    iterator: Iterator[Any] = iter(batches)
    return rows(next(iterator) for _ in range(steps))


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_a_tracked_loader_goes_on_where_it_stopped(connector: DataConnector, workers: int) -> None:
    def tracked() -> tuple[DataConnector, Any]:
        again = DataConnector.from_parquet(connector.data_sources[0].urls[0])  # type: ignore[union-attr]
        dataset = again.to_torch_dataset(batch_size=99, shuffle=True, drop_last_batch=False)
        return again, again.track(loader(dataset, workers))

    _, batches = tracked()
    whole, following = rows(batches), rows(batches)
    first, batches = tracked()
    before = interrupt(batches, 5)
    second, batches = tracked()
    second.load_state_dict(first.state_dict())
    middle = interrupt(batches, 4)
    third, batches = tracked()
    third.load_state_dict(second.state_dict())
    assert before + middle + rows(batches) == whole
    assert rows(batches) == following


def test_a_loaded_state_waits_for_a_data_set_that_is_made_later(connector: DataConnector) -> None:
    before = interrupt(connector.to_torch_dataset(batch_size=100, shuffle=True), 3)
    again = DataConnector.from_parquet(connector.data_sources[0].urls[0])  # type: ignore[union-attr]
    again.load_state_dict(connector.state_dict())
    after = rows(again.to_torch_dataset(batch_size=100, shuffle=True))
    assert sorted(row for batch in before + after for row in batch) == list(range(ROWS))


@pytest.mark.parametrize(("before", "after"), [((3, 2), (2, 3)), ((2, 0), (2, 3)), ((1, 4), (4, 0))])
def test_other_ranks_and_workers_read_exactly_what_is_left(
    files: str, before: tuple[int, int], after: tuple[int, int]
) -> None:
    def ranks(world: int, workers: int) -> list[tuple[DataConnector, Any]]:
        sharded = ShardedDataConnector.from_sources(files, equal=False, seed=9)
        shards = [sharded.get_shard(Gang(rank=rank, world_size=world)) for rank in range(world)]
        made = {"batch_size": 20, "shuffle": True, "drop_last_batch": False}
        return [(shard, shard.track(loader(shard.to_torch_dataset(**made), workers))) for shard in shards]

    seen, states = [], []
    for shard, batches in ranks(*before):
        seen += interrupt(batches, 7)
        states.append(shard.state_dict())
    for shard, batches in ranks(*after):
        shard.load_state_dict(states)
        seen += rows(batches)
    assert sorted(row for batch in seen for row in batch) == list(range(ROWS))


def test_what_cannot_be_counted_is_refused(connector: DataConnector) -> None:
    dataset = connector.to_torch_dataset(batch_size=100)
    list(dataset)
    next(iter(loader(dataset, 2)))
    next(connector.to_batches(10))
    with pytest.raises(InvalidSpec, match=r"connector\.track"):
        connector.state_dict()
    other = DataConnector.from_dataframe(pa.table({"row": [1]})).to_torch_dataset(batch_size=1)
    with pytest.raises(InvalidSpec, match="this connector made"):
        connector.track(loader(other))
    with pytest.raises(InvalidSpec, match="batch_size=None"):
        connector.track(DataLoader(dataset, batch_size=2))
    with pytest.raises(InvalidSpec, match="batch_size=None"):
        connector.track(DataLoader([1, 2], batch_size=None))
    with pytest.raises(InvalidSpec, match="in_order"):
        connector.track(loader(dataset, 2, in_order=False))


class StatefulWorker:
    """What a worker of torchdata's StatefulDataLoader does: a state before the first and with each batch."""

    def __init__(self, dataset: Any, worker: int, workers: int, seed: int, state: Any = None) -> None:
        self._dataset = copy.copy(dataset)
        self._dataset.epochs = copy.copy(dataset.epochs)
        self._info = torch.utils.data._utils.worker.WorkerInfo(
            id=worker, num_workers=workers, seed=seed + worker, dataset=self._dataset
        )
        with self:
            if state is not None:
                self._dataset.load_state_dict(state)
            self._items = iter(self._dataset)
            self.state = self._dataset.state_dict()

    def fetch(self) -> Any:
        with self:
            item = next(self._items, None)
            self.state = self._dataset.state_dict()
            return item

    def __enter__(self) -> None:
        torch.utils.data._utils.worker._worker_info = self._info

    def __exit__(self, *_: Any) -> None:
        torch.utils.data._utils.worker._worker_info = None


def test_torchdatas_stateful_loader_goes_on_where_it_stopped(connector: DataConnector) -> None:
    def made() -> Any:
        return connector.to_torch_dataset(batch_size=100, shuffle=True)

    whole = rows(loader(made(), 2))
    dataset = made()
    workers = [StatefulWorker(dataset, worker, 2, seed=70) for worker in range(2)]
    before = rows(workers[i % 2].fetch() for i in range(5))
    states = [worker.state for worker in workers]
    dataset = made()
    workers = [StatefulWorker(dataset, worker, 2, seed=80, state=states[worker]) for worker in range(2)]
    # The loader remembers by itself that worker 1 is next.
    after = [workers[i % 2].fetch() for i in range(5, 15)]
    assert before + rows(batch for batch in after if batch is not None) == whole
    assert get_worker_info() is None
    # The states of all workers together also tell what is left for another number of workers.
    other = made()
    other.load_state_dict(states)
    assert sorted(flat(loader(other, 3)) + [row for batch in before for row in batch]) == list(range(ROWS))


def test_rows_are_counted_before_there_are_workers(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("row\n" + "\n".join(map(str, range(100))) + "\n")
    connector = DataConnector.from_csv(str(tmp_path))
    assert not connector._ingestor.plan.counted  # type: ignore[attr-defined]
    dataset = connector.to_torch_dataset(batch_size=10)
    assert connector._ingestor.plan.counted  # type: ignore[attr-defined]
    assert sorted(flat(loader(dataset, 2))) == list(range(100))


def test_workers_read_each_row_once(connector: DataConnector, monkeypatch: pytest.MonkeyPatch) -> None:
    ingestor = connector._again
    read, counted = ingestor.read, multiprocessing.Value("q", 0)

    def counting(ranges: Any, columns: Any) -> Any:
        for table in read(ranges, columns):
            with counted.get_lock():
                counted.value += table.num_rows
            yield table

    monkeypatch.setattr(ingestor, "read", counting)
    for shuffle in (False, True):
        counted.value = 0
        dataset = connector.to_torch_dataset(batch_size=100, shuffle=shuffle)
        assert len(flat(loader(dataset, 4))) == ROWS
        assert counted.value == ROWS


@pytest.mark.parametrize("name", ARRAYS)
def test_pytorch_takes_every_form(name: str) -> None:
    array = ARRAYS[name]
    tensor = torch.tensor(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert tensor.numpy().dtype == array.dtype
