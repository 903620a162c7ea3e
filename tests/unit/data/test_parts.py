"""Parts are all rows, once, in order, and nearly equal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlpools.data.outputs.parts import divide, first
from mlpools.data.sharding import everything


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 12))
def test_parts_are_the_ranges_in_order(group_rows: list[int], parts: int) -> None:
    ranges = everything(group_rows)
    runs = divide(ranges, parts)
    assert [part for run in runs for part in run] == ranges
    assert len(runs) <= parts
    assert all(runs)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 12))
def test_parts_differ_by_less_than_two_row_groups(group_rows: list[int], parts: int) -> None:
    sizes = [sum(part.rows for part in run) for run in divide(everything(group_rows), parts)]
    assert max(sizes) <= sum(group_rows) / parts + max(group_rows)


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 600))
def test_the_first_rows_are_those_of_the_beginning(group_rows: list[int], rows: int) -> None:
    ranges = everything(group_rows)
    found = first(ranges, rows)
    assert sum(part.rows for part in found) == min(rows, sum(group_rows))
    assert [part.group for part in found] == [part.group for part in ranges[: len(found)]]
    assert found[:-1] == ranges[: max(0, len(found) - 1)]
