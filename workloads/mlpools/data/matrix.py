"""A matrix of columns that is a view of their memory, where they lie at even distances in it.

So they do in a mapped piece of the decoded cache. Nothing is copied then, whatever the number of columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def even_view(columns: Sequence[pa.Array], dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic] | None:
    """Return columns as one read-only array of shape ``(columns, rows)``, or None if that takes a copy.

    Args:
        columns: of equal length.
        dtype: of the array.
    """
    if not all(_is_plain(column, dtype) for column in columns) or not len(columns[0]):
        return None
    starts = [column.buffers()[1].address + column.offset * dtype.itemsize for column in columns]
    strides = {after - before for before, after in itertools.pairwise(starts)}
    stride = strides.pop() if len(strides) == 1 else 0
    if stride < len(columns[0]) * dtype.itemsize or stride % dtype.itemsize:
        return None
    span = stride * (len(columns) - 1) + len(columns[0]) * dtype.itemsize
    # The columns share what lies between them; holding them holds all of it.
    memory = np.frombuffer(pa.foreign_buffer(starts[0], span, base=list(columns)), dtype)
    shape, strided = (len(columns), len(columns[0])), (stride, dtype.itemsize)
    return np.lib.stride_tricks.as_strided(memory, shape, strided, writeable=False)


def own(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return an array as one that may be written to, for who knows that its memory is nobody else's.

    Arrow's arrays are read-only to everybody.
    """
    return array if array.flags.writeable else np.asarray(_Memory(array))


class _Memory:
    def __init__(self, array: npt.NDArray[np.generic]) -> None:
        self._array = array
        interface = array.__array_interface__
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}


def _is_plain(column: pa.Array, dtype: np.dtype[np.generic]) -> bool:
    """Return whether a column's values lie in memory as an array of the dtype has them."""
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return False
    return bool(column.null_count == 0 and np.dtype(kind.to_pandas_dtype()) == dtype)
