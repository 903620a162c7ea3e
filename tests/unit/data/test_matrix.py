"""Columns at even distances become a matrix without a copy; all others are left to who copies."""

from __future__ import annotations

import gc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.matrix import even_view
from mlpools.data.tensors import TensorLayout

FLOAT = np.dtype(np.float32)


def even(columns: int, rows: int, gap: int = 0) -> tuple[np.ndarray, list[pa.Array]]:
    """A matrix and Arrow columns that share its memory."""
    whole = np.arange(columns * (rows + gap), dtype=np.float32).reshape(columns, rows + gap)
    return whole[:, :rows], [pa.array(line) for line in whole[:, :rows]]


@settings(deadline=None)
@given(
    columns=st.integers(1, 5),
    rows=st.integers(1, 20),
    gap=st.integers(0, 3),
    start=st.integers(0, 19),
    data=st.data(),
)
def test_evenly_spaced_columns_are_a_view(
    columns: int, rows: int, gap: int, start: int, data: st.DataObject
) -> None:
    start = min(start, rows - 1)
    stop = data.draw(st.integers(start + 1, rows))
    matrix, arrays = even(columns, rows, gap)
    view = even_view([array.slice(start, stop - start) for array in arrays], FLOAT)
    if columns == 1:
        assert view is None
        return
    assert view is not None
    assert np.array_equal(view, matrix[:, start:stop])
    assert np.shares_memory(view, matrix)
    assert not view.flags.writeable


def test_a_view_holds_its_memory() -> None:
    stream = pa.BufferOutputStream()
    table = pa.table({name: np.full(10_000, number, np.float32) for number, name in enumerate("abc")})
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    batch = pa.ipc.open_stream(stream.getvalue()).read_next_batch()
    view = even_view(batch.columns, FLOAT)
    del batch, stream
    gc.collect()
    others = [np.full(10_000, 9, np.float32) for _ in range(20)]
    assert view is not None
    assert [set(line.tolist()) for line in view] == [{0.0}, {1.0}, {2.0}]
    assert others


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param([pa.array([1.0, None], pa.float32()), pa.array([1.0, 2.0], pa.float32())], id="nulls"),
        pytest.param([pa.array([1, 2], pa.int32()), pa.array([1, 2], pa.int32())], id="another type"),
        pytest.param([pa.array([True, False]), pa.array([True, False])], id="bits"),
        pytest.param([pa.array(["a", "b"]), pa.array(["c", "d"])], id="texts"),
        pytest.param(even(2, 4)[1][::-1], id="backwards"),
        pytest.param([even(4, 4)[1][i] for i in (0, 1, 3)], id="uneven"),
        pytest.param([even(1, 4)[1][0]] * 3, id="one column thrice"),
        pytest.param([array.slice(0, 0) for array in even(3, 4)[1]], id="no rows"),
    ],
)
def test_what_takes_a_copy_is_none(columns: list[pa.Array]) -> None:
    assert even_view(columns, FLOAT) is None


def test_a_stack_of_evenly_spaced_columns_is_no_copy() -> None:
    matrix, arrays = even(3, 10)
    rows = pa.RecordBatch.from_arrays(arrays, names=["a", "b", "c"])
    layout = TensorLayout(rows.schema, stack={"x": ["a", "b", "c"]})
    for form in (rows, pa.Table.from_batches([rows])):
        stacked = layout.convert(form)["x"]
        assert isinstance(stacked, np.ndarray)
        assert np.shares_memory(stacked, matrix)
        assert np.array_equal(stacked, matrix.T)
    swapped = TensorLayout(rows.schema, stack={"x": ["a", "c", "b"]}).convert(rows)["x"]
    assert np.array_equal(swapped, matrix[[0, 2, 1]].T)
