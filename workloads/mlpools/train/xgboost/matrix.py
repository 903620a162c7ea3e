"""From a rank's rows to XGBoost's binned matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import xgboost as xgb

from mlpools.data.columns import Batch, Columns
from mlpools.data.shard import ShardRows, give_back
from mlpools.errors import DataNotReadable
from mlpools.train.xgboost.memory import PAGE_ROWS
from mlpools.train.xgboost.parameters import Parameters


class Batches(xgb.DataIter):  # type: ignore[misc]
    """Hands out batches in the data contract's form.

    XGBoost goes over the data four times while it builds a matrix, so converted batches stay in memory
    if the rows would.

    Attributes:
        unknown: values of category columns that the training data does not have; they count as missing.
    """

    def __init__(
        self, rows: ShardRows, columns: Columns, parameters: Parameters, name: str, pages: Path | None = None
    ) -> None:
        self._rows = rows
        self._parameters = parameters
        self._columns = columns
        self._name = name
        self._kept: list[Batch] | None = None
        self._current: Iterator[Batch] = iter(())
        self.unknown = 0
        super().__init__(cache_prefix=None if pages is None else str(pages / name))

    def reset(self) -> None:
        """Start over."""
        if self._kept is None and self._rows.keep:
            self._kept = list(self._convert())
            self._rows.release()
        self._current = self._convert() if self._kept is None else iter(self._kept)

    def close(self) -> None:
        """Forget the rows. XGBoost's callbacks hold this object until the interpreter looks for cycles."""
        self._kept, self._current = None, iter(())
        self._rows.release()
        give_back()

    def next(self, input_data: Callable[..., None]) -> bool:
        """Give XGBoost the next batch."""
        batch = next(self._current, None)
        if batch is None:
            give_back()  # what the pass took, before XGBoost lays out what it found
            return False
        self._rows.alive()
        extra = {"weight": self._weights(batch), "base_margin": batch.margin, "qid": batch.group}
        input_data(
            data=batch.features,
            label=batch.label,
            feature_names=list(self._columns.features),
            feature_types=list(self._columns.kinds),
            **{name: values for name, values in extra.items() if values is not None},
        )
        return True

    def _weights(self, batch: Batch) -> np.ndarray | None:
        """Return a weight for each row, or for each group as XGBoost has it."""
        if batch.weight is None or batch.group is None:
            return batch.weight
        of_groups: np.ndarray = batch.weight[np.unique(batch.group, return_index=True)[1]]
        if (of_groups[batch.group] != batch.weight).any():
            raise DataNotReadable(
                f"The data {self._name!r}: the weight column {self._columns.weight!r} differs within a "
                f"group of {self._columns.group!r}. XGBoost weighs whole groups: give all rows of a group "
                "one weight."
            )
        return of_groups

    def _convert(self) -> Iterator[Batch]:
        self.unknown = 0
        if self._rows.num_rows == 0:
            yield self._columns.filler()
        tables = self._rows.tables()
        done = 0
        for table in tables if self.cache_prefix is None else merged(tables, PAGE_ROWS):
            where = self._rows.origin(self._name, done, done + table.num_rows)
            done += table.num_rows
            batch = self._columns.convert(table, where)
            self._parameters.check_labels(batch.label, where)
            self.unknown += batch.unknown
            # XGBoost's own precision of labels, and half the memory.
            yield dataclasses.replace(batch, label=batch.label.astype(np.float32))


def merged(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield tables of at least so many rows, but for the last one: XGBoost makes a page of each batch."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(it.num_rows for it in held) >= rows:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def build(batches: Batches, parameters: Parameters, reference: xgb.DMatrix | None) -> xgb.DMatrix:
    """Build a matrix, in files if the batches have a place for them; others than the first use its bins.

    A collective call: every rank builds the same sets in the same order.
    """
    kind = xgb.QuantileDMatrix if batches.cache_prefix is None else xgb.ExtMemQuantileDMatrix
    return kind(
        batches,
        nthread=parameters.booster["nthread"],
        max_bin=parameters.booster.get("max_bin"),
        ref=reference,
        enable_categorical=True,
    )
