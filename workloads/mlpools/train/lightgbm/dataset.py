"""From a rank's rows to LightGBM's binned data set.

Left alone, each rank of LightGBM finds the borders of the bins of its share of the features in its own rows:
where rows are sorted by a feature, these are borders of a part of it, and models are far worse. So all ranks
make the borders from one sample of all rows, and their data sets by reference to it. Rows are pushed into
these in pieces: no second form of all rows is ever in memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlpools.data.columns import Batch, Columns
from mlpools.data.groups import runs
from mlpools.data.shard import ShardRows
from mlpools.errors import DataNotReadable
from mlpools.train.collective import Collective
from mlpools.train.lightgbm.metrics import Rows
from mlpools.train.lightgbm.parameters import Parameters

_PIECE_ROWS = 65_536
#: Integers that float32 holds exactly are told apart by LightGBM too, and take half the memory.
_FLOAT32 = frozenset({pa.float32(), pa.int8(), pa.int16(), pa.uint8(), pa.uint16()})


@dataclasses.dataclass(frozen=True)
class BinnedRows:
    """One rank's rows of one set.

    Attributes:
        dataset: of LightGBM; None where the rank has no rows of the set.
        rows: what metrics need of them.
        unknown: values of category columns that the training data does not have; they count as missing.
    """

    dataset: lgb.Dataset | None
    rows: Rows
    unknown: int


def sampled(
    rows: ShardRows, columns: Columns, parameters: Parameters, collective: Collective, memory: int
) -> npt.NDArray[np.float64]:
    """Return some of all rows, the same ones whatever the number of ranks. A collective call.

    Args:
        rows: training data of this rank.
        columns: the data contract.
        parameters: of the job.
        collective: of the ranks.
        memory: bytes that they may take.

    Returns:
        Their features, of shape (rows, features); equal on all ranks.
    """
    counts = collective.gather(rows.num_rows)
    total, first = sum(counts), sum(counts[: collective.rank])
    most = max(1, memory // (8 * len(columns.features)))
    size = collective.share(min(total, parameters.sample_rows, most))
    chosen = np.sort(
        np.random.default_rng(parameters.data_seed).choice(total, size, replace=False, shuffle=False)
    )
    own = chosen[(chosen >= first) & (chosen < first + rows.num_rows)] - first
    return np.concatenate(collective.gather_arrays(_rows_at(rows, columns, own)))


def reference(sample: npt.NDArray[np.float64], columns: Columns, parameters: Parameters) -> lgb.Dataset:
    """Return a data set that has the borders of all bins, as a sample has them."""
    return lgb.Dataset(
        sample,
        label=np.zeros(len(sample)),
        feature_name=list(columns.features),
        categorical_feature=[columns.features.index(name) for name in columns.categorical],
        params=parameters.of_dataset(len(sample)),
    ).construct()


def build(
    rows: ShardRows, columns: Columns, parameters: Parameters, borders: lgb.Dataset, name: str
) -> BinnedRows:
    """Bin a rank's rows of a set."""
    pieces = _Pieces(rows, columns, parameters, name)
    if not rows.num_rows:
        return BinnedRows(None, pieces.rows(), 0)
    dataset = lgb.Dataset(pieces, reference=borders, params=dict(borders.get_params())).construct()
    seen, margin = pieces.rows(), pieces.margin()
    dataset.set_label(seen.label)
    dataset.set_weight(seen.weight)
    dataset.set_group(seen.groups)
    dataset.set_init_score(margin)
    return BinnedRows(dataset, seen, pieces.unknown)


def matrices(rows: ShardRows, columns: Columns, name: str) -> Iterator[tuple[npt.NDArray[Any], Batch]]:
    """Yield a rank's rows in pieces, as a matrix of shape (rows, features) and in the contract's form."""
    done = 0
    for table in rows.tables():
        for start in range(0, table.num_rows, _PIECE_ROWS):
            piece = table.slice(start, _PIECE_ROWS)
            batch = columns.convert(piece, rows.origin(name, done, done + piece.num_rows))
            done += piece.num_rows
            yield matrix(batch.features), batch


class _Pieces(lgb.Sequence):  # type: ignore[misc]
    """Hands out rows once and in order, as LightGBM asks for them where the borders are known."""

    batch_size = _PIECE_ROWS

    def __init__(self, rows: ShardRows, columns: Columns, parameters: Parameters, name: str) -> None:
        self._rows = rows
        self._columns = columns
        self._parameters = parameters
        self._name = name
        self._tables = rows.drained()
        self._ahead: pa.Table | None = None
        self._labels: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)]
        self._weights: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)]
        self._margins: list[npt.NDArray[np.float64]] = [np.empty(0)]
        self._groups: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        self.unknown = 0

    def __len__(self) -> int:
        return self._rows.num_rows

    def __getitem__(self, index: slice) -> npt.NDArray[Any]:
        batch = self._converted(self._next(index.stop - index.start), index.start)
        self._labels.append(batch.label.astype(np.float32))
        if batch.weight is not None:
            self._weights.append(batch.weight.astype(np.float32))
        if batch.margin is not None:
            self._margins.append(batch.margin)
        self.unknown += batch.unknown
        self._rows.alive()
        return matrix(batch.features)

    def _converted(self, table: pa.Table, start: int) -> Batch:
        """Return rows in the contract's form.

        Raises:
            DataNotReadable: they cannot be used; with the first file that has such rows.
        """
        try:
            return self._checked(table, start)
        except DataNotReadable:
            for _, first, last in self._rows.by_file(start, start + table.num_rows):
                self._checked(table.slice(first - start, last - first), first)
            raise

    def _checked(self, table: pa.Table, start: int) -> Batch:
        where = self._rows.origin(self._name, start, start + table.num_rows)
        batch = self._columns.convert(table, where)
        self._parameters.check_labels(batch.label, where)
        return batch

    def rows(self) -> Rows:
        """Return what metrics need of the rows that were handed out."""
        weight = np.concatenate(self._weights) if self._columns.weight else None
        groups = np.concatenate(self._groups) if self._columns.group else None
        return Rows(np.concatenate(self._labels), weight, groups)

    def margin(self) -> npt.NDArray[np.float64] | None:
        """Return what the trees begin from in each row; None where that is the same for all."""
        return np.concatenate(self._margins) if self._columns.margin else None

    def _next(self, count: int) -> pa.Table:
        ahead = self._ahead if self._ahead is not None else self._table()
        while ahead.num_rows < count:
            ahead = pa.concat_tables([ahead, self._table()])
        self._ahead = ahead.slice(count)
        return ahead.slice(0, count)

    def _table(self) -> pa.Table:
        """Return the next table as it was read: whole groups, of which a piece may have a part."""
        table = next(self._tables)
        if self._columns.group:
            starts = runs(table.column(self._columns.group).combine_chunks())
            self._groups.append(np.diff([*starts, table.num_rows]))
        return table


def _rows_at(rows: ShardRows, columns: Columns, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the features of some rows, given by their sorted places among the rank's."""
    found = [np.empty((0, len(columns.features)))]
    first = 0
    for table in rows.tables(columns.all):
        own = places[(places >= first) & (places < first + table.num_rows)] - first
        first += table.num_rows
        if len(own):
            found.append(matrix(columns.inputs(table.take(own))[0]))
    return np.concatenate(found, dtype=np.float64)


def matrix(features: pa.Table) -> npt.NDArray[Any]:
    """Return columns as a matrix of shape (rows, features) with NaN for what is missing.

    Categories are their places in the contract's lists.
    """
    columns = [
        pa.chunked_array([chunk.indices for chunk in column.chunks])
        if pa.types.is_dictionary(column.type)
        else column
        for column in features.columns
    ]
    narrow = all(
        column.type in _FLOAT32 or pa.types.is_dictionary(kind)
        for column, kind in zip(columns, features.schema.types, strict=True)
    )
    values = np.empty((features.num_rows, len(columns)), np.float32 if narrow else np.float64)
    for index, column in enumerate(columns):
        values[:, index] = column.to_numpy()
    return values
