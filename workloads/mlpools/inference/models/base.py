"""What every loaded model can do, and what is common to checking its features."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlpools.data.columns import kind_of, number
from mlpools.data.forms import numbers
from mlpools.errors import ModelMismatch, ModelUnreadable, at_hand

#: Predictions by the end of their column's name; the empty one is the model's main answer.
Predictions = Mapping[str, pa.Array]

#: Types whose every value is one of float32.
_FLOAT32 = frozenset({pa.float32(), pa.int8(), pa.int16(), pa.uint8(), pa.uint16()})
#: What the names of a model's features are called in files that have room for more than the model.
FEATURE_NAMES = "feature_names"
#: Ends of names of columns.
MAIN, PROBABILITY = "", "_probability"


class Model(Protocol):
    """A loaded model.

    Attributes:
        columns: of the input that it is given, in order.
        names_columns: its answers' names are whole names of columns, and no ends of them.
        unknown: values so far of categories that it has not learned from; they counted as missing.
    """

    columns: Sequence[str]
    names_columns: bool
    unknown: int

    def predict(self, rows: pa.Table) -> Predictions:
        """Return the model's answers for rows, at least one of ``columns``' order and types.

        Raises:
            Exception: whatever the framework or the user's code raises.
        """


def as_array(values: Any) -> pa.Array:
    """Return predictions of shape [rows], or [rows, n] as lists of one length, as an Arrow array."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1:
        return pa.array(array)
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))


def matrix(rows: pa.Table, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return columns of numbers as an array of shape [rows, columns], NaN for what is missing.

    Args:
        rows: integers, floats, decimals, booleans, or dictionaries of these.
        dtype: of the array; None for float32 where that holds all values exactly, else float64.

    Raises:
        ValueError: something is missing, and the array is of integers.
    """
    columns = [number(column, kind_of(column.type) or "float") for column in rows.columns]
    if dtype is None:
        dtype = np.float32 if all(column.type in _FLOAT32 for column in columns) else np.float64
    values = np.empty((rows.num_rows, rows.num_columns), dtype)
    for index, column in enumerate(columns):
        if column.null_count and values.dtype.kind not in "fc":
            raise ValueError(
                f"{rows.column_names[index]!r} is missing, and the model takes {values.dtype} alone"
            )
        if column.null_count and pa.types.is_integer(column.type):
            column = column.cast(pa.float64())
        first = 0
        for chunk in column.chunks:
            values[first : first + len(chunk), index] = numbers(chunk)
            first += len(chunk)
    return values


def written_names(model: str, text: str | bytes) -> list[str]:
    """Return the features' names that somebody wrote into a model's file as a list in JSON.

    Args:
        model: what it is called in messages.
        text: what is there under ``FEATURE_NAMES``; empty if nothing is.

    Raises:
        ModelUnreadable: it is no list of names.
    """
    try:
        names = json.loads(text or "[]")
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelUnreadable(
            f"{FEATURE_NAMES} in the file of the {model} is no list of names: write it as JSON, such as "
            '["distance", "hour"].'
        )
    return names


def chosen(model: str, own: Sequence[str], count: int | None, asked: Sequence[str]) -> list[str]:
    """Return the features in the order in which a model wants them.

    Args:
        model: what it is called in messages.
        own: the names that the model has; empty if it has none.
        count: how many features it has learned from; None if that is not known.
        asked: the names that the user gave; empty for the model's own.

    Raises:
        ModelMismatch: there are no names, or they are others, or too many or few.
    """
    if own and asked and set(own) != set(asked):
        missing = [name for name in own if name not in asked]
        extra = [name for name in asked if name not in own]
        raise ModelMismatch(
            f"features do not fit the {model}: "
            + " and ".join(
                [f"it also needs {', '.join(map(repr, missing[:5]))}"] * bool(missing)
                + [f"it has not learned from {', '.join(map(repr, extra[:5]))}"] * bool(extra)
            )
            + ". Leave features out to give it its own."
        )
    names = list(own or asked)
    if not names:
        raise ModelMismatch(
            f"The {model} does not name its features: list the columns that it is given, in their order, "
            "in features."
        )
    if count is not None and count != len(names):
        raise ModelMismatch(
            f"The {model} has learned from {count} features, but {len(names)} are given: "
            f"{', '.join(names[:10])}{', …' if len(names) > 10 else ''}."
        )
    return names


def check_features(
    model: str, features: Sequence[str], schema: pa.Schema, *, texts: Sequence[str] | None = ()
) -> None:
    """Refuse data that a model cannot be used for, before the first row.

    Args:
        model: what it is called in messages.
        features: that it needs.
        schema: of the input.
        texts: features that are texts, not numbers; None if it takes either.

    Raises:
        ModelMismatch: a feature is absent, or of the wrong type; it is named.
    """
    for name in features:
        if name not in schema.names:
            raise ModelMismatch(
                f"The feature {name!r} of the {model} is not in the input. "
                f"{at_hand(name, schema.names, 'Columns')}"
            )
        if texts is None:
            continue
        kind = kind_of(schema.field(name).type)
        if kind is None or (kind == "c") != (name in texts):
            wanted = "texts" if name in texts else "numbers"
            raise ModelMismatch(
                f"Column {name!r} is {schema.field(name).type}, but the {model} has learned from {wanted}."
            )
