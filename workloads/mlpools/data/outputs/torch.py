"""A connector's rows as a data set of PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mlpools.data.epochs import Epochs
from mlpools.data.mixing import Mixing
from mlpools.data.outputs.parcel import Parcel
from mlpools.data.state import Position
from mlpools.data.tensor_rows import tensor_form
from mlpools.data.tensors import Tensor, TensorLayout
from mlpools.errors import InvalidSpec

#: What PyTorch has types for; times and other arrays stay numpy's.
_NUMBERS = "biufc"
#: Rows converted at once where single rows are handed out.
_ROWS_AT_ONCE = 1024


class TorchDataset(IterableDataset):  # type: ignore[misc]  # torch has no types here
    """Batches, or single rows, as dictionaries of tensors; lists where a column holds texts.

    Each iteration is the next epoch. Use it with ``DataLoader(dataset, batch_size=None)``: workers share the
    rows, each of which is read once, and together they hand out what one process would, apart from the
    order. ``state_dict`` follows the protocol of torchdata's StatefulDataLoader, in its workers too.

    Tensors own their memory: changing them in place changes nothing else.
    """

    def __init__(
        self,
        epochs: Epochs,
        layout: TensorLayout,
        columns: Sequence[str],
        mixing: Mixing,
        *,
        batch_size: int | None,
        shuffle: bool,
        drop_last: bool,
        equal: bool,
    ) -> None:
        super().__init__()
        self.epochs = epochs
        self._layout = layout
        self._columns = list(columns)
        self._batch_size = batch_size
        self._equal = equal
        self._reading = functools.partial(
            mixing.reading, batch_size or 1, shuffle=shuffle, drop_last=drop_last and batch_size is not None
        )
        self._iterations = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        if info is None:
            return self._items(self.begin(1), 0)
        # All workers of an iteration have this number in common; persistent ones keep it.
        self._iterations += 1
        position = self.begin(info.num_workers, key=f"{info.seed - info.id}:{self._iterations}")
        # A loader asks worker 0 first, who therefore takes the place of the one whose turn it is.
        turn = sum(position.yielded.values())
        worker = (
            (info.id + turn) % info.num_workers if len(position.yielded) > 1 else next(iter(position.yielded))
        )
        self.epochs.only(worker)
        return self._items(position, worker)

    def begin(self, num_workers: int, *, key: str = "", watch: bool = False) -> Position:
        """Begin the next epoch; see ``Epochs.begin``."""
        return self.epochs.begin(
            self._reading(num_workers=num_workers), equal=self._equal, key=key, watch=watch
        )

    def set_epoch(self, epoch: int) -> None:
        """Make an epoch the next one, also for workers that persist."""
        self.epochs.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where this process stands in its epoch; see ``DataConnector.state_dict``."""
        return self.epochs.state_dict()

    def load_state_dict(self, states: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Go on where an epoch was left; see ``DataConnector.load_state_dict``."""
        self.epochs.load_state_dict(states, alone=get_worker_info() is not None)

    def _items(self, position: Position, worker: int) -> Iterator[dict[str, Any]]:
        size = self._batch_size or _ROWS_AT_ONCE
        form = tensor_form(self._layout, owned=self.epochs.owns_memory)
        packed = Parcel if get_worker_info() is not None else dict
        for batch in self.epochs.batches(position, self._columns, form, worker=worker, size=size):
            tensors = {name: _tensor(values) for name, values in batch.tensors().items()}
            if self._batch_size is not None:
                self.epochs.advance(worker)
                yield packed(tensors)
                continue
            for row in range(batch.num_rows):
                self.epochs.advance(worker)
                yield {name: values[row] for name, values in tensors.items()}


class TrackedLoader:
    """A DataLoader that counts the batches which the training loop gets."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        """Track a loader.

        Raises:
            InvalidSpec: it is not one whose batches can be told apart.
        """
        dataset = loader.dataset
        if not isinstance(dataset, TorchDataset) or loader.batch_size is not None:
            raise InvalidSpec(
                "track needs DataLoader(dataset, batch_size=None) of a data set that to_torch_dataset made."
            )
        if not getattr(loader, "in_order", True):
            raise InvalidSpec(
                "track needs a loader with in_order=True, or nothing says whose batch comes next."
            )
        self.loader = loader
        self._dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        if self.loader.num_workers == 0:
            yield from self.loader
            return
        position = self._dataset.begin(self.loader.num_workers, watch=True)
        turn = sum(position.yielded.values())
        for number, batch in enumerate(self.loader, turn):
            self._dataset.epochs.advance(number % self.loader.num_workers)
            yield batch

    @property
    def epochs(self) -> Epochs:
        """Where the loader stands."""
        return self._dataset.epochs


def _tensor(values: Tensor) -> Any:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in _NUMBERS:
        return values
    return torch.from_numpy(values if values.flags.writeable else values.copy(order="K"))
