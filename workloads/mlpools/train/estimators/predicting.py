"""Predictions for rows: where they are in files or in memory, here or over the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from mlpools.data import DataConnector
from mlpools.data.columns import Columns, kind_of
from mlpools.errors import DataNotReadable, at_hand
from mlpools.train.estimators.rows import connected
from mlpools.train.launchers import ray_cluster

#: Rows to predictions of shape [rows] or [rows, classes].
Predictor = Callable[[pa.Table], np.ndarray]


def predict(given: Any, predictor: Predictor, columns: Columns, column: str) -> Any:
    """Return rows with their predictions, in the form in which the rows were given.

    Args:
        given: a connector, a frame or an array of shape [rows, columns].
        predictor: of a model.
        columns: that the model has learned from.
        column: name of the predictions.

    Raises:
        DataNotReadable: a feature is absent or of another kind, or there is a column of this name already.
    """
    connector = connected(given)
    check(columns, connector.schema)
    if column in connector.schema.names:
        raise DataNotReadable(f"There is already a column {column!r}; choose another prediction_col.")
    if ray_cluster.is_inside():
        from mlpools.train.estimators.predicting_over_ray import predicted_parts

        return _as_given(given, pa.concat_tables(predicted_parts(connector, predictor, column)), column)
    return _as_given(given, pa.concat_tables(predicted(connector, predictor, column)), column)


def check(columns: Columns, schema: pa.Schema) -> None:
    """Refuse rows that a model cannot be used for.

    Raises:
        DataNotReadable: a feature is absent, or text instead of numbers or the other way round.
    """
    for name, kind in zip(columns.features, columns.kinds, strict=True):
        if name not in schema.names:
            raise DataNotReadable(
                f"The feature {name!r} is not in the data. {at_hand(name, schema.names, 'Columns')}"
            )
        found = kind_of(schema.field(name).type)
        if found is None or (found == "c") != (kind == "c"):
            learned = "texts" if kind == "c" else "numbers"
            raise DataNotReadable(
                f"Column {name!r} is {schema.field(name).type}, but the model has learned from {learned}."
            )


def predicted(connector: DataConnector, predictor: Predictor, column: str) -> Iterator[pa.Table]:
    """Yield rows with their predictions, piece by piece in order; at least one piece, which may be empty."""
    empty = True
    for rows in connector.to_tables():
        empty = False
        yield with_column(rows, predictor(rows), column)
    if empty:
        yield with_column(connector.schema.empty_table(), np.empty(0, np.float32), column)


def with_column(rows: pa.Table, values: np.ndarray, column: str) -> pa.Table:
    """Return rows with one more column: numbers, or lists of one length where there are several for a row."""
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    if values.ndim > 1:
        array = pa.FixedSizeListArray.from_arrays(array, values.shape[1])
    return rows.append_column(column, array)


def _as_given(given: Any, table: pa.Table, column: str) -> Any:
    """Return a table as a frame of the library that the rows came from."""
    if isinstance(given, DataConnector):
        return DataConnector.from_dataframe(table)
    if isinstance(given, np.ndarray):
        return _values(table.column(column).combine_chunks())
    module = type(given).__module__.partition(".")[0]
    if module == "pandas":
        frame = given.copy(deep=False)
        frame[column] = table.column(column).to_pandas().to_numpy()
        return frame
    if module == "polars":
        import polars

        return polars.from_arrow(table)
    return table


def _values(array: pa.Array) -> np.ndarray:
    """Return predictions as an array of shape [rows] or [rows, classes]."""
    if pa.types.is_fixed_size_list(array.type):
        values: np.ndarray = array.flatten().to_numpy().reshape(len(array), array.type.list_size)
        return values
    numbers: np.ndarray = array.to_numpy()
    return numbers
