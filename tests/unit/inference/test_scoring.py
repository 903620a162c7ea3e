"""Batches of a measured size, bad rows found one by one, and one form for all rows of the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.errors import InvalidSpec, UserCodeError
from mlpools.inference.batches import BatchSize, Rebatcher, peak, reset_peak
from mlpools.inference.rows import Form, conform, settled
from mlpools.inference.scoring import PoisonRow, Scored, Scorer
from mlpools.inference.settings import Settings
from tests.support.parts import a_task

SCHEMA = pa.schema({"x": pa.int64()})


class Fake:
    """A model of a function, which remembers the sizes of its calls."""

    names_columns = False
    columns = ("x",)
    unknown = 0

    def __init__(self, function: Callable[[list[int]], Any]) -> None:
        self._function = function
        self.calls: list[int] = []

    def predict(self, rows: pa.Table) -> dict[str, pa.Array]:
        self.calls.append(rows.num_rows)
        return {"": pa.array(self._function(rows.column("x").to_pylist()))}


def picky(bad: set[int], error: type[Exception] = ValueError) -> Fake:
    def double(values: list[int]) -> list[int]:
        for value in values:
            if value in bad:
                raise error(f"no {value}")
        return [2 * value for value in values]

    return Fake(double)


def a_scorer(model: Fake, rows: int = 8, on_error: Any = "FailShard") -> Scorer:
    return Scorer(model, BatchSize(fixed=rows, row_bytes=8, budget=1), on_error, lambda: None)


def table(rows: int) -> pa.Table:
    return pa.table({"x": range(rows)}, schema=SCHEMA)


def test_a_bad_row_is_found_in_few_calls() -> None:
    model = picky({700})
    with pytest.raises(PoisonRow) as caught:
        a_scorer(model).score(table(1024))
    assert (caught.value.row, caught.value.error) == (700, "ValueError: no 700")
    assert len(model.calls) <= 2 * 10 + 1


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=5))
def test_bad_rows_are_null_and_no_other_is(rows: int, bad: set[int]) -> None:
    found = a_scorer(picky(bad), on_error="Null").score(table(rows))
    assert set(found.bad) == {row for row in bad if row < rows}
    if found.predictions:
        expected = [None if row in bad else 2 * row for row in range(rows)]
        assert found.predictions[""].to_pylist() == expected
    else:
        assert len(found.bad) == rows


def test_a_wrong_number_of_predictions_is_the_users_error_and_no_rows() -> None:
    with pytest.raises(UserCodeError, match="1 predictions for 8 rows"):
        a_scorer(Fake(lambda values: [sum(values)])).score(table(8))


def test_memory_that_runs_out_makes_smaller_calls_and_no_bad_rows() -> None:
    def hungry(values: list[int]) -> list[int]:
        if len(values) > 100:
            raise MemoryError
        return values

    model = Fake(hungry)
    scorer = a_scorer(model, rows=512)
    assert scorer.score(table(512)).predictions[""].to_pylist() == list(range(512))
    assert scorer.size.rows == 64
    assert "at most 64 rows" in scorer.size.said


def told(size: BatchSize, seconds: float, grown: int = 0, calls: int = 3) -> BatchSize:
    for _ in range(calls):
        size.tell(size.rows, seconds, grown)
    return size


def test_batches_grow_while_that_is_faster_and_memory_allows() -> None:
    size = BatchSize(fixed=None, row_bytes=8, budget=100 << 20)
    assert size.rows == 1 << 16
    assert told(size, 1.0, 1 << 20).rows == 1 << 17
    assert told(size, 1.0, 60 << 20, calls=1).rows == 1 << 17  # twice this is too much
    assert told(size, 0.1).rows == 1 << 17
    assert not size.said


def test_batches_that_are_not_faster_go_back() -> None:
    size = told(told(BatchSize(fixed=None, row_bytes=8, budget=1 << 30), 1.0), 2.0)
    assert size.rows == 1 << 16


def test_calls_that_others_slowed_down_do_not_count() -> None:
    size = told(BatchSize(fixed=None, row_bytes=8, budget=1 << 30), 1.0)
    told(size, 9.0, calls=1)
    told(size, 1.2, calls=1)
    told(size, 5.0, calls=1)
    assert size.rows == 1 << 18


def test_wide_rows_begin_with_few_and_a_bound_holds() -> None:
    assert BatchSize(fixed=None, row_bytes=8 << 20, budget=1).rows == 1
    size = BatchSize(fixed=5000, row_bytes=8, budget=1, bound=100)
    assert size.rows == 100
    assert "at most 100 rows" in size.said
    assert BatchSize(fixed=1 << 20, row_bytes=8, budget=1).rows == 1 << 20


def test_memory_is_measured() -> None:
    before = reset_peak()
    block = np.ones(8 << 20)
    grown = peak() - before
    del block
    assert grown > 32 << 20


@given(st.lists(st.integers(0, 30), max_size=10), st.integers(1, 20))
def test_batches_have_all_rows_in_order(tables: list[int], rows: int) -> None:
    size, found, batches, start = BatchSize(fixed=rows, row_bytes=8, budget=1), [], Rebatcher(), 0
    for count in tables:
        piece = pa.table({"x": range(start, start + count)}, schema=SCHEMA)
        start += count
        found += list(batches.add(piece, size))
    found += list(batches.rest(size))
    assert all(batch.num_rows == rows for batch in found[:-1])
    assert [value for batch in found for value in batch.column("x").to_pylist()] == list(range(start))


def a_form(**output: Any) -> Form:
    on_error = output.pop("onError", "FailShard")
    task = a_task("/out", onError=on_error)
    task.output.update(output)
    schema = pa.schema({"id": pa.int64(), "x": pa.int64(), "prediction": pa.string()})
    return Form.of(Settings.from_task(task), Fake(list), schema)


def test_kept_columns_come_first_and_errors_last() -> None:
    form = a_form(keep=["id"], predictionColumn="score", onError="Null")
    batch = pa.table({"id": [1, 2], "x": [3, 4]})
    found = form.rows(
        batch, Scored({"": pa.array([0.5, None]), "_probability": pa.array([1, 2])}, {1: "bad"})
    )
    assert found.to_pydict() == {
        "id": [1, 2],
        "score": [0.5, None],
        "score_probability": [1, 2],
        "_error": [None, "bad"],
    }


def test_columns_that_clash_or_are_not_there_are_named() -> None:
    with pytest.raises(InvalidSpec, match="'prediction' is kept"):
        a_form(keep="all")
    with pytest.raises(InvalidSpec, match=r"'idd'.* Did you mean 'id'"):
        a_form(keep=["idd"])


def test_all_parts_have_one_form() -> None:
    schema = settled(pa.schema({"p": pa.float64(), "n": pa.null()}))
    found = conform(pa.table({"n": pa.nulls(1), "p": pa.array([1])}), schema)
    assert found.schema.equals(schema)
    assert conform(pa.table({"n": pa.nulls(1)}), schema).column("p").to_pylist() == [None]
    with pytest.raises(UserCodeError, match="differ between batches"):
        conform(pa.table({"p": ["text"], "n": [1.0]}), schema)
    with pytest.raises(UserCodeError, match="differ between batches"):
        conform(pa.table({"other": [1]}), schema)
