"""Batches are cut from what was read, without a copy where none is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.batches import ARROW, read_batches, rebatch
from mlpools.data.blocks import whole
from mlpools.data.order import Reading
from mlpools.data.sharding import RowRange
from mlpools.data.state import Position
from mlpools.errors import DataNotReadable
from tests.support.ordered import Numbered


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 20))
def test_batches_are_exact_across_tables(sizes: list[int], size: int) -> None:
    tables, start = [], 0
    for rows in sizes:
        tables.append(pa.table({"a": list(range(start, start + rows))}))
        start += rows
    batches = list(rebatch(tables, size, ARROW))
    assert [row for batch in batches for row in batch.column(0).to_pylist()] == list(range(start))
    assert all(batch.num_rows == size for batch in batches[:-1])


def test_batches_within_a_row_group_share_its_memory() -> None:
    tables = [pa.table({"a": np.arange(100.0), "b": np.arange(100)}) for _ in range(2)]
    buffers = {column.chunk(0).buffers()[1].address for table in tables for column in table.columns}
    batches = list(rebatch(tables, 30, ARROW))
    assert [batch.num_rows for batch in batches] == [30, 30, 30, 30, 30, 30, 20]
    shared = [all(column.buffers()[1].address in buffers for column in batch.columns) for batch in batches]
    assert shared == [True, True, True, False, True, True, True]


def test_batches_of_several_dictionaries_keep_their_values() -> None:
    tables = [pa.table({"a": pa.array(text.split()).dictionary_encode()}) for text in ("x y x", "z x", "q")]
    texts = [batch.column(0).to_pylist() for batch in rebatch(tables, 2, ARROW)]
    assert texts == [["x", "y"], ["x", "z"], ["x", "q"]]


def order(reading: Reading, group_rows: list[int]) -> Position:
    return Position("", 0, 0, 0, 1, False, reading, {})


def test_each_row_group_is_asked_for_once() -> None:
    """Also where the border of two windows lies within it: its two parts follow on one another."""
    group_rows = [50] * 6
    numbered = Numbered(group_rows)
    reading = Reading(10, shuffle=True, window_rows=70)
    list(read_batches(order(reading, group_rows).order(whole(group_rows)), numbered.read, ARROW))
    groups = [part.group for part in numbered.ranges]
    runs = [group for i, group in enumerate(groups) if i == 0 or groups[i - 1] != group]
    assert len(groups) > len(group_rows)
    assert sorted(runs) == list(range(6))


def test_batches_are_exact_where_a_window_is_permuted_in_several_chunks() -> None:
    rows = 150_000
    table = pa.table({"row": np.arange(rows)})
    whole_order = order(Reading(7000, shuffle=True, window_rows=rows), [rows]).order(whole([rows]))
    batches = list(read_batches(whole_order, lambda ranges: iter([table]), ARROW))
    assert [batch.num_rows for batch in batches] == [7000] * 21 + [3000]
    found = np.concatenate([batch.column(0).to_numpy() for batch in batches])
    assert (np.sort(found) == np.arange(rows)).all()
    resumed = read_batches(whole_order, lambda ranges: iter([table]), ARROW, first=13)
    assert next(resumed).equals(batches[13])


def test_what_was_handed_out_before_is_not_read_again() -> None:
    group_rows = [50] * 6
    for reading, most in ((Reading(10), 100), (Reading(10, shuffle=True, window_rows=70), 140)):
        numbered = Numbered(group_rows)
        list(
            read_batches(order(reading, group_rows).order(whole(group_rows)), numbered.read, ARROW, first=20)
        )
        assert sum(part.rows for part in numbered.ranges) <= most


@pytest.mark.parametrize("shuffle", [False, True])
def test_fewer_rows_than_planned_are_an_error(shuffle: bool) -> None:
    def short(ranges: Sequence[RowRange]) -> Iterator[pa.Table]:
        yield from list(Numbered([40, 40]).read(ranges))[:-1]

    with pytest.raises(DataNotReadable, match="where its plan has"):
        list(read_batches(order(Reading(10, shuffle), [40, 40]).order(whole([40, 40])), short, ARROW))
