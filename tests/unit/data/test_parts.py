"""Parts are all rows, once, in order, and nearly equal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlpools.data.outputs.parts import divide
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
