"""Rows in order: as tables and batches, epoch after epoch, and where a loop over them stands."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mlpools.data import sharding
from mlpools.data.arguments import check_batch_size, library
from mlpools.data.clock import Clock, SharedClock
from mlpools.data.epochs import Epochs, Rows, Share
from mlpools.data.ingestor import DataIngestor
from mlpools.data.mixing import Mixing
from mlpools.data.sharding import RowRange
from mlpools.data.tensors import TensorLayout
from mlpools.data.whole_groups import WholeGroups
from mlpools.errors import DataNotReadable, InvalidSpec, at_hand


class Iteration:
    """What a connector does with rows one after the other."""

    def __init__(
        self,
        ingestor: DataIngestor,
        ranges: Sequence[RowRange] | None = None,
        share: Share | None = None,
        group_column: str = "",
    ) -> None:
        """Prepare to read rows.

        Args:
            ingestor: gives the rows.
            ranges: which of them, in order; all by default.
            share: with it the ranges are those of one rank, and a shuffle deals all rows anew.
            group_column: rows with equal values follow on one another, and batches never part them.
        """
        self._ingestor = ingestor
        self._ranges = None if ranges is None else list(ranges)
        self._share = share or Share()
        self._group_column = group_column
        if group_column:
            self._rows = Rows(WholeGroups(ingestor, self.ranges, group_column))
        else:
            self._rows = Rows(ingestor, self._ranges if share is None else None)
        self._outputs = [Epochs(self._rows, self._share, Clock())]

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""
        return self._ingestor.schema

    @functools.cached_property
    def num_rows(self) -> int:
        """Number of rows: from metadata, or counted where the format or a filter needs it."""
        return sum(self._ingestor.group_rows if self._ranges is None else (r.rows for r in self._ranges))

    @property
    def ranges(self) -> list[RowRange]:
        """The row ranges this connector reads."""
        return sharding.everything(self._ingestor.group_rows) if self._ranges is None else list(self._ranges)

    def to_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows in pieces as they are stored: whole row groups, or the part in this shard.

        Args:
            columns: which to read, in this order; all by default. Others are not read from disk.
        """
        return self._ingestor.read(self._ranges, self._check_columns(columns))

    def to_batches(
        self,
        batch_size: int | None = None,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        epoch: int | None = None,
        drop_last_batch: bool = False,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield record batches: slices of what was read, without a copy where no shuffle needs one.

        Args:
            batch_size: rows of each batch, across row groups and files; only the last one may have
                fewer. By default as they are stored. With a group column, groups instead of rows.
            shuffle: in an order drawn anew for each epoch, over all ranks.
            seed: of the order, if not the connector's.
            epoch: by default the one after that of the last call.
            drop_last_batch: leave out a last batch with fewer rows.
            columns: which to read; all by default.

        Raises:
            InvalidSpec: the batch size is no number of rows, or is missing where rows are shuffled.
        """
        names = self._check_columns(columns)
        if batch_size is None:
            if shuffle:
                raise InvalidSpec("to_batches(shuffle=True) needs a batch_size.")
            return (batch for table in self.to_tables(names) for batch in table.combine_chunks().to_batches())
        if epoch is not None:
            self._outputs[0].set_epoch(epoch)
        mixing = self._mixing(names) if shuffle else Mixing()
        reading = mixing.reading(batch_size, shuffle=shuffle, drop_last=drop_last_batch)
        return self._outputs[0].run(reading, names, equal=bool(self._share.equal), seed=seed)

    def to_torch_dataset(
        self,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        drop_last_batch: bool = True,
        columns: Sequence[str] | None = None,
        seed: int | None = None,
        **tensors: Any,
    ) -> Any:
        """Return a ``torch.utils.data.IterableDataset`` for ``DataLoader(dataset, batch_size=None)``.

        Args:
            batch_size: rows of each batch; None hands out single rows. With a group column, groups
                instead of rows.
            shuffle: in an order drawn anew for each epoch, over all ranks.
            drop_last_batch: leave out a rank's last batch with fewer rows.
            columns: which to read; all by default.
            seed: of the order, if not the connector's.
            **tensors: what columns become, see ``TensorLayout``: ``stack``, ``expand_dims``, ``fill``.

        Raises:
            DataNotReadable: a column is absent or has no tensor form.
            InvalidSpec: PyTorch is not installed, or the batch size is no number of rows.
        """
        if batch_size is not None:
            check_batch_size(batch_size)
        with library("torch", "to_torch_dataset"):
            from mlpools.data.outputs.torch import TorchDataset

        names = self._check_columns(columns)
        if self._group_column and batch_size is None:
            raise InvalidSpec("With a group column, to_torch_dataset needs a batch_size: so many groups.")
        if getattr(self._ingestor, "repeatable", True):
            # Once here, and not again in each worker of a loader.
            self._rows.count()
        share = self._share if seed is None else dataclasses.replace(self._share, seed=seed)
        return TorchDataset(
            self._new_output(share),
            TensorLayout(pa.schema([self.schema.field(name) for name in names]), **tensors),
            names,
            self._mixing(names) if shuffle else Mixing(),
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=drop_last_batch,
            equal=share.world_size > 1 if share.equal is None else share.equal,
        )

    def set_epoch(self, epoch: int) -> None:
        """Make an epoch the next one of all outputs; without it each iteration is the one after the last."""
        for output in self._outputs:
            output.set_epoch(epoch)

    def track(self, loader: Any) -> Any:
        """Return a loader of the same batches, which counts for ``state_dict`` those that the loop got.

        Args:
            loader: ``DataLoader(dataset, batch_size=None, …)`` of a data set that this connector made.
        """
        from mlpools.data.outputs.torch import TrackedLoader

        tracked = TrackedLoader(loader)
        if tracked.epochs not in self._outputs:
            raise InvalidSpec(
                "track needs a loader of a data set that this connector made, and not another one."
            )
        return tracked

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration stands that began last: which batches the training loop got.

        Save those of all ranks at one step. JSON can hold it.

        Raises:
            InvalidSpec: nothing counts what the loop gets, as with a DataLoader that is not tracked.
        """
        blind = [output for output in self._outputs if output.is_blind]
        return (blind or [max(self._outputs, key=lambda output: output.begun)])[0].state_dict()

    def load_state_dict(self, states: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Go on where an epoch was left, with the same or another number of ranks and workers.

        Args:
            states: what ``state_dict`` returned on all ranks.

        Raises:
            InvalidSpec: they do not fit together, or are of other rows.
        """
        for output in self._outputs:
            output.load_state_dict(states)

    def _check_columns(self, columns: Sequence[str] | None) -> list[str]:
        if isinstance(columns, str):  # as sources take it
            columns = [columns]
        names = self.schema.names if columns is None else list(columns)
        for name in names:
            if self.schema.get_field_index(name) < 0:
                raise DataNotReadable(
                    f"There is no column {name!r}. {at_hand(name, self.schema.names, 'Columns')}"
                )
        return names

    def _new_output(self, share: Share, *, read_ahead: bool = False) -> Epochs:
        """Return the epochs of a further output, which other processes may iterate."""
        epochs = Epochs(self._rows.of(self._again), share, SharedClock(), read_ahead=read_ahead)
        epochs.follow(self._outputs[0])
        self._outputs.append(epochs)
        return epochs

    @functools.cached_property
    def _again(self) -> DataIngestor:
        """What gives the rows to who reads them more than once."""
        for_epochs = getattr(self._ingestor, "for_epochs", None)
        return self._ingestor if for_epochs is None or self._group_column else for_epochs()

    def _mixing(self, columns: Sequence[str]) -> Mixing:
        rows = self._rows.num_rows // self._share.world_size
        rows_each = self.num_rows / max(1, rows) if self._group_column else 1.0
        return Mixing.choose(self._again, columns, rows, rows_each)
