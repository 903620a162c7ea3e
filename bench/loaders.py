"""Ways from Parquet files to torch batches of 8,192 rows: ours and those that people use today.

Each is written as its own documentation advises for speed. All end with the same: a float32 tensor
[rows, 28] and the labels [rows]. A loader is a function ``open(folder) -> epoch``; its imports stand inside,
so that nobody pays for another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.higgs import FEATURES, LABEL, paths

BATCH = 8192
Epoch = Callable[[], Iterator[tuple[Any, Any]]]


def ours(
    folder: Path, *, cache: bool = False, shuffle: bool = False, workers: int = 0, rank: str = "0/1"
) -> Epoch:
    """Our connector, used as its documentation says; ``rank`` is such as 0/2."""
    from torch.utils.data import DataLoader

    from mlpools.data import ShardedDataConnector
    from mlpools.gang import Gang

    place, _, world = rank.partition("/")
    connector = ShardedDataConnector.from_parquet(str(folder), cache=cache)
    data = connector.get_shard(Gang(int(place), int(world))).to_torch_dataset(
        batch_size=BATCH, shuffle=shuffle, drop_last_batch=False, stack={"features": FEATURES}
    )

    def epoch() -> Iterator[tuple[Any, Any]]:
        for batch in DataLoader(data, batch_size=None, num_workers=workers) if workers else data:
            yield batch["features"], batch[LABEL]

    return epoch


def decoder(folder: Path, *, rank: str) -> Epoch:
    """Nothing but Arrow's decoder on one thread, for a part of the row groups: what a core allows."""
    import pyarrow.parquet as pq

    place, _, world = rank.partition("/")
    files = [pq.ParquetFile(path, pre_buffer=False) for path in paths(folder)]
    groups = [(file, number) for file in files for number in range(file.num_row_groups)]

    def epoch() -> Iterator[tuple[Any, Any]]:
        for file, number in groups[int(place) :: int(world)]:
            file.read_row_group(number, use_threads=False)
        yield from ()

    return epoch


def scanner(folder: Path) -> Epoch:
    """A loop by hand over Arrow's scanner, in batches of the wanted size."""
    import pyarrow.dataset as ds

    data = ds.dataset(str(folder))
    return lambda: (_tensors(batch) for batch in data.scanner(batch_size=BATCH).to_batches())


def scanner_groups(folder: Path) -> Epoch:
    """The same in whole row groups, laid out once and sliced: the fastest form that we know of it."""
    import pyarrow.dataset as ds

    data = ds.dataset(str(folder))

    def epoch() -> Iterator[tuple[Any, Any]]:
        for batch in data.scanner(batch_size=1 << 20).to_batches():
            features, label = _tensors(batch)
            for start in range(0, len(label), BATCH):
                yield features[start : start + BATCH], label[start : start + BATCH]

    return epoch


def torch_loader(folder: Path, *, workers: int = 0) -> Epoch:
    """Torch's DataLoader over an IterableDataset over the scanner; workers share out the files."""
    import pyarrow.dataset as ds
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Rows(IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            worker = get_worker_info()
            files = paths(folder)[worker.id :: worker.num_workers] if worker else paths(folder)
            for batch in ds.dataset(files).scanner(batch_size=BATCH).to_batches():
                yield _tensors(batch)

    return lambda: iter(DataLoader(Rows(), batch_size=None, num_workers=workers))


def polars_loop(folder: Path) -> Epoch:
    """A loop by hand over polars' streaming engine."""
    import polars as pl
    import torch

    frame = pl.scan_parquet(paths(folder))

    def epoch() -> Iterator[tuple[Any, Any]]:
        for piece in frame.collect_batches(chunk_size=BATCH, maintain_order=True):
            features = piece.select(FEATURES).to_numpy(order="fortran")
            yield torch.from_numpy(features), torch.from_numpy(piece[LABEL].to_numpy(writable=True))

    return epoch


def ray_data(folder: Path) -> Epoch:
    """Ray Data on both cores."""
    import logging

    import ray
    import torch

    ray.init("local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def epoch() -> Iterator[tuple[Any, Any]]:
        data = ray.data.read_parquet(paths(folder))
        for batch in data.iter_torch_batches(batch_size=BATCH):
            yield torch.stack([batch[name] for name in FEATURES]).T, batch[LABEL]

    return epoch


def huggingface(folder: Path, *, form: str) -> Epoch:
    """Hugging Face datasets, streaming, in Arrow's or torch's format."""
    import datasets
    import torch

    data = datasets.load_dataset(
        "parquet", data_files=paths(folder), split="train", streaming=True
    ).with_format(form)

    def epoch() -> Iterator[tuple[Any, Any]]:
        for batch in data.iter(batch_size=BATCH):
            if form == "arrow":
                yield _tensors(batch.combine_chunks().to_batches()[0])
            else:
                yield torch.stack([batch[name] for name in FEATURES]).T, batch[LABEL]

    return epoch


def _tensors(batch: Any) -> tuple[Any, Any]:
    """Fill one matrix column by column: two to three times faster than Arrow's own ``to_tensor``."""
    import numpy as np
    import torch

    matrix = np.empty((len(FEATURES), batch.num_rows), np.float32)
    for i, name in enumerate(FEATURES):
        matrix[i] = batch.column(name).to_numpy()
    return torch.from_numpy(matrix).T, torch.from_numpy(batch.column(LABEL).to_numpy().copy())


#: Read the part of a rank.
PARTS: dict[str, Callable[..., Epoch]] = {"rank": ours, "decoder": decoder}
LOADERS: dict[str, Callable[[Path], Epoch]] = {
    "ours": ours,
    "ours, cached": lambda folder: ours(folder, cache=True),
    "ours, shuffled": lambda folder: ours(folder, shuffle=True),
    "ours, 2 DataLoader workers": lambda folder: ours(folder, workers=2),
    "Arrow scanner": scanner,
    "Arrow scanner, whole row groups": scanner_groups,
    "torch DataLoader": torch_loader,
    "torch DataLoader, 2 workers": lambda folder: torch_loader(folder, workers=2),
    "polars": polars_loop,
    "Ray Data": ray_data,
    "Hugging Face, arrow": lambda folder: huggingface(folder, form="arrow"),
    "Hugging Face, torch": lambda folder: huggingface(folder, form="torch"),
}
