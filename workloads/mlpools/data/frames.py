"""Frames of other libraries as Arrow tables, without a copy where their memory has Arrow's form."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa

from mlpools.data.forms import plain_type
from mlpools.errors import DataNotReadable, one_line

#: Arrow has no kernels for these: they could be neither filtered, sorted nor shuffled.
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def to_table(frame: Any) -> pa.Table:
    """Return a frame's rows.

    Args:
        frame: a ``pyarrow.Table``, ``RecordBatch``, or ``RecordBatchReader``, which is read to its end; a
            frame of pandas, whose index is left out; a frame of polars, or a lazy one, which is collected;
            a DuckDB relation, which is run; or anything else that exports an Arrow stream.

    Returns:
        A table that shares the frame's memory where it can: do not change the frame's values in place
        afterwards.

    Raises:
        DataNotReadable: values of a column have different types.
        TypeError: it is no frame.
    """
    if isinstance(frame, pa.Table):
        return _without_views(frame)
    if isinstance(frame, pa.RecordBatch):
        return _without_views(pa.Table.from_batches([frame]))
    if _is_a(frame, "pandas", "DataFrame"):
        return _from_pandas(frame)
    if _is_a(frame, "polars", "LazyFrame"):
        frame = frame.collect()
    if not hasattr(frame, "__arrow_c_stream__"):
        raise TypeError(
            f"{type(frame).__name__} is no frame that mlpools knows: it takes those of pandas, polars, "
            "pyarrow and DuckDB, and whatever exports an Arrow stream (__arrow_c_stream__)."
        )
    return _without_views(pa.RecordBatchReader.from_stream(frame).read_all())


def _is_a(frame: Any, module: str, name: str) -> bool:
    """Tell whether this is such a frame, without importing a library that nobody has."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(frame, kind)


def _from_pandas(frame: Any) -> pa.Table:
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        # pyarrow tells the column in a second argument.
        why = "; ".join(one_line(Exception(word)) for word in error.args)
        raise DataNotReadable(
            f"The pandas frame cannot be read: {why}. Give the values of each column one type, for instance "
            "with frame.astype({…})."
        ) from error
    return table.replace_schema_metadata(None)


def _without_views(table: pa.Table) -> pa.Table:
    for i, field in enumerate(table.schema):
        plain = _VIEWS.get(plain_type(field.type))
        if plain is not None:
            kind = (
                pa.dictionary(field.type.index_type, plain) if pa.types.is_dictionary(field.type) else plain
            )
            column = table.column(i).cast(kind)
            table = table.set_column(i, pa.field(field.name, kind, field.nullable), column)
    return table
