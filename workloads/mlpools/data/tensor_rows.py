"""Rows as tensors that batches are cut from: made of whole row groups, cut as views.

To convert each batch by itself costs more than to decode it: a few microseconds a column, for every batch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlpools.data.batches import Form
from mlpools.data.blocks import Indices
from mlpools.data.matrix import own
from mlpools.data.spare import Spare
from mlpools.data.tensors import TensorLayout, Tensors

Arrays = Mapping[str, npt.NDArray[np.generic]]
#: Tables of fewer rows are joined before they become tensors.
_TOGETHER_ROWS = 1 << 15


class TensorRows:
    """Rows of which the numbers are tensors already.

    Texts and lists stay Arrow's until a batch is made: the rows of a batch may have lists of one length where
    those of a row group have not.

    Attributes:
        num_rows: how many.
    """

    def __init__(self, layout: TensorLayout, numbers: Arrays, rest: pa.RecordBatch, num_rows: int) -> None:
        self._layout = layout
        self._numbers = numbers
        self._rest = rest
        self.num_rows = num_rows

    def slice(self, offset: int, length: int | None = None) -> TensorRows:
        """Return some of them, without a copy."""
        stop = self.num_rows if length is None else min(self.num_rows, offset + length)
        numbers = {name: array[offset:stop] for name, array in self._numbers.items()}
        return TensorRows(self._layout, numbers, self._rest.slice(offset, length), stop - offset)

    @property
    def nbytes(self) -> int:
        """Bytes they take."""
        return sum(array.nbytes for array in self._numbers.values()) + int(self._rest.nbytes)

    def take(self, indices: Indices, spare: Mapping[str, Spare]) -> TensorRows:
        """Return a copy of those at some positions, in memory of each tensor's."""
        numbers = {name: spare[name].rows(len(indices)) for name in self._numbers}
        for name, array in self._numbers.items():
            # Positions are right. Any other mode would copy once more, to leave the target as it was.
            np.take(array, indices, axis=0, out=numbers[name], mode="clip")
        rest = self._rest.take(pa.array(indices)) if self._rest.num_columns else self._rest
        return TensorRows(self._layout, numbers, rest, len(indices))

    def tensors(self) -> Tensors:
        """Return all of them as tensors.

        Raises:
            DataNotReadable: a list or text cannot be converted.
        """
        return {
            name: self._numbers[name] if name in self._numbers else self._layout.tensor(self._rest, name)
            for name in self._layout.forms
        }


def tensor_form(layout: TensorLayout, *, owned: bool) -> Form[TensorRows]:
    """Return how batches are cut that become tensors.

    Args:
        layout: of the tensors.
        owned: the memory of what is read is nobody else's, so tensors may share it and be changed in place.
    """
    names = [name for name in layout.forms if layout.is_numbers(name)]
    others = [name for name in layout.forms if not layout.is_numbers(name)]
    stacks = {name: Spare(functools.partial(np.empty, dtype=layout.forms[name].dtype)) for name in names}

    def of(rows: pa.RecordBatch) -> TensorRows:
        numbers = {}
        for name in names:
            array = layout.tensor(rows, name, spare=stacks[name])
            assert isinstance(array, np.ndarray)
            numbers[name] = own(array) if owned else array
        return TensorRows(layout, numbers, rows.select(others), rows.num_rows)

    def join(parts: Sequence[TensorRows]) -> TensorRows:
        numbers = {name: _columns_together([part._numbers[name] for part in parts]) for name in names}
        rest = pa.concat_batches([part._rest for part in parts])
        return TensorRows(layout, numbers, rest, sum(part.num_rows for part in parts))

    windows, taken = ({name: Spare(functools.partial(layout.room, name)) for name in names} for _ in range(2))

    def window(tables: Iterator[pa.Table], rows: int) -> TensorRows:
        numbers = {name: windows[name].rows(rows) for name in names}
        position, rest = 0, []
        for part in _of_some_size(tables):
            for name, array in numbers.items():
                layout.lay_down(part, name, array[position : position + part.num_rows])
            position += part.num_rows
            rest.append(part.select(others))
            del part  # before the next one is waited for
        return TensorRows(layout, numbers, pa.concat_batches(rest), rows)

    return Form(of, join, window, lambda rows, indices: rows.take(indices, taken))


def _of_some_size(tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of tables, small ones joined; what was yielded is held by nobody here."""
    some: list[pa.RecordBatch] = []
    for table in tables:
        some += table.to_batches()
        del table
        if sum(each.num_rows for each in some) >= _TOGETHER_ROWS:
            yield _joined(some)
    if some:
        yield _joined(some)


def _joined(some: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Take all batches out of a list, as one."""
    joined = some[0] if len(some) == 1 else pa.concat_batches(some)
    some.clear()
    return joined


def _columns_together(parts: list[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    """Join arrays by rows; the columns of a matrix lie in one piece, as those of its parts do."""
    return np.concatenate([part.T for part in parts], axis=-1).T
