"""Frames of every library come in whole, and without a copy where that is possible."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlpools.data import DataConnector
from mlpools.data.frames import to_table
from mlpools.errors import DataNotReadable

ROWS = {"x": [1.0, None, 3.0], "t": ["a", None, "ccc"], "n": [1, 2, 3]}
TABLE = pa.table(ROWS)


class Exporter:
    """Anything with Arrow's stream protocol."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return TABLE.__arrow_c_stream__(requested_schema)


def frame(kind: str) -> Any:
    makers = {
        "arrow": lambda: TABLE,
        "batch": lambda: TABLE.combine_chunks().to_batches()[0],
        "reader": lambda: pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(max_chunksize=2)),
        "pandas": lambda: pd.DataFrame(ROWS),
        "polars": lambda: pl.DataFrame(ROWS),
        "lazy": lambda: pl.LazyFrame(ROWS).filter(pl.col("n") > 0),
        "duckdb": lambda: duckdb.connect().from_arrow(TABLE),
        "protocol": Exporter,
    }
    return makers[kind]()


@pytest.mark.parametrize(
    "kind", ["arrow", "batch", "reader", "pandas", "polars", "lazy", "duckdb", "protocol"]
)
def test_every_frame_gives_its_rows(kind: str) -> None:
    connector = DataConnector.from_dataframe(frame(kind))
    assert connector.to_arrow().to_pydict() == ROWS
    assert connector.schema.metadata is None


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(TypeError, match="list is no frame that mlpools knows: it takes those of pandas"):
        to_table([1, 2])


def test_numbers_of_pandas_and_polars_are_not_copied() -> None:
    values = np.asfortranarray(np.arange(6.0).reshape(3, 2))
    frame = pd.DataFrame(values, columns=["a", "b"], copy=False)
    series = pl.Series("a", [1.0, 2.0])
    for table, address in (
        (to_table(frame), values.ctypes.data),
        (to_table(pl.DataFrame(series)), series.to_numpy().ctypes.data),
    ):
        assert table.column("a").chunk(0).buffers()[1].address == address


def test_columns_of_pandas_that_mix_types_are_named() -> None:
    with pytest.raises(DataNotReadable, match=r"pandas frame cannot be read: .*column m.*one type"):
        to_table(pd.DataFrame({"m": [1, "a"]}))


def test_views_become_texts_that_can_be_shuffled() -> None:
    texts = pa.array(["b", None, "a"], pa.string_view())
    codes = pa.DictionaryArray.from_arrays(
        pa.array([0, 1], pa.uint32()), pa.array(["x", "y"], pa.string_view())
    )
    for column in (texts, texts.cast(pa.binary_view()), codes):
        table = to_table(pa.table({"t": column}))
        taken = table.take(pa.array([1, 0])).column("t")
        assert taken.to_pylist() == column.to_pylist()[1::-1]


def test_a_frame_given_out_leaves_the_source_as_it_was() -> None:
    connector = DataConnector.from_dataframe(pa.table({"x": [1.0, 2.0]}))
    frame = connector.to_pandas()
    frame.loc[0, "x"] = 7.0
    assert connector.to_pandas()["x"].tolist() == [1.0, 2.0]
    assert connector.to_polars(1).to_dict(as_series=False) == {"x": [1.0]}
    assert connector.to_polars(0).schema == {"x": pl.Float64}
