"""What a connector's rows become in other libraries; large ones have a module each, which imports them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from mlpools.data import progress
from mlpools.data.arguments import check_limit, library
from mlpools.data.ingestor import ArrowIngestor
from mlpools.data.iteration import Iteration
from mlpools.data.mixing import Mixing
from mlpools.data.outputs.parts import divide, first
from mlpools.data.sharding import RowRange
from mlpools.data.tensors import TensorLayout

#: Parts of a stream that the workers of a loader can share among them.
_PARTS = 64


class Outputs(Iteration):
    """What the rows of a connector become."""

    @property
    def known_rows(self) -> int | None:
        """Number of rows, or None where something has to be read or run to know it."""
        if self._ranges is not None:
            return sum(part.rows for part in self._ranges)
        ingestor = self._ingestor
        if not isinstance(ingestor, ArrowIngestor) or (ingestor.plan and not ingestor.plan.counted):
            return None
        return self.num_rows

    def to_arrow(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows, or the first ``limit``, as one table."""
        check_limit(limit)
        tables, rows = [], 0
        known = self.known_rows
        total = known if known is None or limit is None else min(known, limit)
        for table in progress.watched(self.to_tables(columns), total):
            tables.append(table if limit is None else table.slice(0, limit - rows))
            rows += tables[-1].num_rows
            if limit is not None and rows >= limit:
                break
        if tables:
            return pa.concat_tables(tables)
        return self._schema_of(columns).empty_table()

    def to_pandas(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> Any:
        """Return all rows, or the first ``limit``, as a ``pandas.DataFrame``."""
        # Gives Arrow's memory back column by column: rows are not in memory twice.
        return self.to_arrow(limit, columns=columns).to_pandas(self_destruct=True)

    def to_polars(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> Any:
        """Return all rows, or the first ``limit``, as a ``polars.DataFrame``."""
        import polars

        return polars.from_arrow(self.to_arrow(limit, columns=columns))

    def to_tf_dataset(
        self,
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last_batch: bool = True,
        columns: Sequence[str] | None = None,
        **tensors: Any,
    ) -> Any:
        """Return a ``tf.data.Dataset`` of dictionaries; each iteration of it is the next epoch.

        Args:
            batch_size: rows of each batch.
            shuffle: in an order drawn anew for each epoch, over all ranks.
            drop_last_batch: leave out a last batch with fewer rows.
            columns: which to read; all by default.
            **tensors: what columns become, see ``TensorLayout``: ``stack``, ``expand_dims``, ``fill``.

        Raises:
            DataNotReadable: a column is absent or has no tensor form.
            InvalidSpec: TensorFlow is not installed, or the batch size is no number of rows.
        """
        with library("tensorflow", "to_tf_dataset"):
            from mlpools.data.outputs.tensorflow import to_tf_dataset

        schema = self._schema_of(columns)
        batches = self._epochs(batch_size, schema.names, shuffle=shuffle, drop_last=drop_last_batch)
        return to_tf_dataset(batches, schema, TensorLayout(schema, **tensors))

    def to_ray_dataset(self) -> Any:
        """Return a lazy ``ray.data.Dataset``: Ray's workers read the rows, each its own row groups.

        Files have to be where every node of the Ray cluster sees them.

        Raises:
            InvalidSpec: Ray is not installed.
        """
        own = getattr(self._ingestor, "to_ray_dataset", None)
        if own is not None and self._ranges is None:
            return own()
        with library("ray", "to_ray_dataset"):
            from mlpools.data.outputs.ray import to_ray_dataset

        return to_ray_dataset(self._ingestor, self._ranges)

    def to_huggingface_dataset(
        self,
        *,
        streaming: bool = False,
        limit: int | None = None,
        batch_size: int = 1024,
        shuffle: bool = False,
        drop_last_batch: bool = False,
        columns: Sequence[str] | None = None,
    ) -> Any:
        """Return a data set of Hugging Face.

        Args:
            streaming: a ``datasets.IterableDataset``, which reads when it is iterated; otherwise a
                ``datasets.Dataset`` with all rows in memory.
            limit: only so many first rows, before the shuffle.
            batch_size: rows that are handed over at a time.
            shuffle: in an order drawn anew for each epoch, over all ranks.
            drop_last_batch: leave out the rows after the last whole batch.
            columns: which to read; all by default.

        Raises:
            DataNotReadable: a column is absent or of a type that Hugging Face has no feature for.
            InvalidSpec: Hugging Face's library is not installed, or a number of rows is none.
        """
        check_limit(limit)
        with library("datasets", "to_huggingface_dataset"):
            from mlpools.data.outputs import huggingface

        schema = self._schema_of(columns)
        names = schema.names
        rows = self if limit is None else Outputs(self._ingestor, first(self.ranges, limit))
        batches = rows._epochs(batch_size, names, shuffle=shuffle, drop_last=drop_last_batch)
        as_stored = not shuffle and not drop_last_batch
        if streaming:
            parts = divide(rows.ranges, _PARTS) if as_stored and rows.known_rows else [None]
            return huggingface.streamed(
                functools.partial(rows._read, batches, batch_size, names), parts, schema
            )
        if as_stored:
            return huggingface.in_memory(rows.to_arrow(columns=names))
        tables = progress.watched((pa.Table.from_batches([batch]) for batch in batches()), rows.known_rows)
        return huggingface.in_memory(pa.concat_tables([schema.empty_table(), *tables]))

    def _read(
        self,
        batches: Callable[[], Iterator[pa.RecordBatch]],
        batch_size: int,
        names: Sequence[str],
        part: Sequence[RowRange] | None,
    ) -> Iterator[pa.RecordBatch]:
        """Read a part as it is stored, or all rows as ``batches`` does."""
        if part is None:
            return batches()
        return Iteration(self._ingestor, part).to_batches(batch_size, columns=names)

    def _epochs(
        self, batch_size: int, names: Sequence[str], *, shuffle: bool, drop_last: bool
    ) -> Callable[[], Iterator[pa.RecordBatch]]:
        """Return what begins the next epoch of an output whose library reads ahead of the loop."""
        mixing = self._mixing(names) if shuffle else Mixing()
        reading = mixing.reading(batch_size, shuffle=shuffle, drop_last=drop_last)
        output = self._new_output(self._share, read_ahead=True)
        return functools.partial(output.run, reading, names, equal=bool(self._share.equal))

    def _schema_of(self, columns: Sequence[str] | None) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in self._check_columns(columns)])
