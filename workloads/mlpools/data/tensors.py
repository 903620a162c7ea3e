"""Arrow rows to named tensors: numpy arrays, or lists of texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlpools.data.forms import Form, Place, form_of, is_list, plain, plain_type, to_array, to_list
from mlpools.data.matrix import even_view
from mlpools.data.spare import Spare
from mlpools.errors import DataNotReadable, InvalidSpec, at_hand, one_line

#: What one column, or several stacked ones, become.
Tensor: TypeAlias = npt.NDArray[np.generic] | list[object]
Tensors: TypeAlias = dict[str, Tensor]
#: Memory of the rows that are turned over at once: they fit into a core's own cache.
_TURNED_BYTES = 512 << 10
#: Values between two columns of them. At distances of whole pages they would share a few places of the first
#: cache, and push each other out.
_GAP = 48


class TensorLayout:
    """How the columns of a schema become tensors. Checked when it is made, before any row is read.

    Attributes:
        forms: of each tensor by its name, in the order in which they come. They tell dtypes and shapes
            without a row having been read.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        stack: Mapping[str, Sequence[str]] | None = None,
        expand_dims: bool = False,
        fill: Mapping[str, Any] | None = None,
    ) -> None:
        """Fix the layout.

        Args:
            schema: names and types of the columns.
            stack: columns of numbers to join into one tensor of shape ``(rows, columns)`` under a new name.
                Its type is the one that numpy promotes theirs to. They are not tensors by themselves then.
            expand_dims: give single numbers the shape ``(rows, 1)`` instead of ``(rows,)``.
            fill: what to put where a column is empty. NaN makes an array of floats of an integer or
                boolean column, in every batch.

        Raises:
            DataNotReadable: a column is absent or its type has no tensor form; two have the same name.
            InvalidSpec: the arguments make no sense together.
        """
        self._stack = {name: list(columns) for name, columns in (stack or {}).items()}
        twice = {name for name in schema.names if schema.names.count(name) > 1}
        if twice:
            raise DataNotReadable(f"Two columns are called {min(twice)!r}; rename one of them in the source.")
        for name in [*(fill or {}), *(column for columns in self._stack.values() for column in columns)]:
            if name not in schema.names:
                raise DataNotReadable(
                    f"There is no column {name!r}. {at_hand(name, schema.names, 'Columns')}"
                )
        self._fill = {name: _filler(schema.field(name), value) for name, value in (fill or {}).items()}
        self._columns = {field.name: self._column_form(field) for field in schema}
        stacked = {name for names in self._stack.values() for name in names}
        self.forms: dict[str, Form] = {
            name: Form(form.dtype, (1,)) if expand_dims and form.is_number else form
            for name, form in self._columns.items()
            if name not in stacked
        }
        for name, members in self._stack.items():
            if name in self.forms:
                raise InvalidSpec(
                    f"stack: {name!r} is also a column that is not stacked; choose another name."
                )
            self.forms[name] = _stacked_form(name, {member: self._columns[member] for member in members})

    def convert(self, rows: pa.RecordBatch | pa.Table, where: str = "") -> Tensors:
        """Convert rows of the schema.

        Args:
            rows: with at least the layout's columns.
            where: what they came from, for messages.

        Returns:
            For each name an array whose first axis is the rows, or a list with one item a row. A stack
            has each of its columns in one piece. Arrays that share Arrow's memory are read-only.

        Raises:
            DataNotReadable: a value cannot be converted; the message names column and row.
        """
        return {name: self.tensor(rows, name, where) for name in self.forms}

    def tensor(
        self, rows: pa.RecordBatch | pa.Table, name: str, where: str = "", spare: Spare | None = None
    ) -> Tensor:
        """Convert rows to one of the tensors; see ``convert``. A stack that is copied takes spare memory."""
        form = self.forms[name]
        if name in self._stack:
            return self._stacked(rows, name, form, where, spare)
        if form.dtype is None:
            return [item for _, chunk in self._chunks(rows, name) for item in to_list(chunk)]
        array = self._array(rows, name, where)
        return array[:, np.newaxis] if self._columns[name].is_number and form.shape else array

    def sources(self, name: str) -> list[str]:
        """Return the columns that a tensor is made of."""
        return self._stack.get(name, [name])

    def is_numbers(self, name: str) -> bool:
        """Return whether a tensor is made of single numbers: a part of it is the tensor of those rows."""
        return name in self._stack or self._columns[name].is_number

    def _column_form(self, field: pa.Field) -> Form:
        form = form_of(field)
        if form.is_number and _is_nan(self._fill.get(field.name)) and form.dtype is not None:
            return Form(np.promote_types(form.dtype, np.float32))
        return form

    def _array(self, rows: pa.RecordBatch | pa.Table, name: str, where: str) -> npt.NDArray[np.generic]:
        column = rows.column(name)
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        as_nan = _is_nan(self._fill.get(name))
        array = to_array(self._filled(column, name), Place(name, where), missing_as_nan=as_nan)
        return array.astype(self._columns[name].dtype, copy=False)

    def _stacked(
        self, rows: pa.RecordBatch | pa.Table, name: str, form: Form, where: str, spare: Spare | None
    ) -> npt.NDArray[np.generic]:
        members = self._stack[name]
        assert form.dtype is not None
        lines = [_single(rows.column(member)) for member in members]
        view = even_view(lines, form.dtype) if None not in lines else None
        if view is not None:
            return view.T
        values = len(members) * rows.num_rows
        memory = np.empty(values, form.dtype) if spare is None else spare.rows(values)
        buffer = memory.reshape(len(members), rows.num_rows)
        for line, member in zip(buffer, members, strict=True):
            for first, chunk in self._member(rows, member, form, where):
                line[first : first + len(chunk)] = chunk
        return buffer.T

    def room(self, name: str, rows: int) -> npt.NDArray[np.generic]:
        """Return memory for so many rows of a tensor of numbers, for ``lay_down``."""
        form = self.forms[name]
        assert form.dtype is not None
        return np.empty((rows, *(length or 0 for length in form.shape)), form.dtype)

    def lay_down(self, rows: pa.RecordBatch, name: str, target: npt.NDArray[np.generic]) -> None:
        """Write a tensor of numbers into an array in which each row lies in one piece.

        A stack goes there through a few rows that stay in a processor's cache, and is nowhere as a whole.

        Args:
            rows: to convert.
            name: of a tensor for which ``is_numbers`` holds.
            target: as many rows, of the tensor's dtype and shape.

        Raises:
            DataNotReadable: a value cannot be converted.
        """
        if name not in self._stack:
            target[...] = np.asarray(self.tensor(rows, name))
            return
        members, form = self._stack[name], self.forms[name]
        lines = [values for member in members for _, values in self._member(rows, member, form, "")]
        height = max(1, _TURNED_BYTES // (len(members) * target.itemsize))
        few = np.empty((len(members), height + _GAP), form.dtype)
        for start in range(0, rows.num_rows, height):
            part = target[start : start + height]
            for i, line in enumerate(lines):
                few[i, : len(part)] = line[start : start + height]
            part[...] = few[:, : len(part)].T

    def _member(
        self, rows: pa.RecordBatch | pa.Table, name: str, form: Form, where: str
    ) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
        """Yield a stack's column, chunk by chunk, each with the row at which it begins."""
        as_nan = form.dtype is not None and np.issubdtype(form.dtype, np.floating)
        for first, chunk in self._chunks(rows, name):
            yield first, to_array(chunk, Place(name, where, first=first), missing_as_nan=as_nan)

    def _chunks(self, rows: pa.RecordBatch | pa.Table, name: str) -> Iterator[tuple[int, pa.Array]]:
        """Yield a column's chunks, each with the row at which it begins."""
        column = rows.column(name)
        first = 0
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            yield first, self._filled(chunk, name)
            first += len(chunk)

    def _filled(self, values: pa.Array, name: str) -> pa.Array:
        value = self._fill.get(name)
        return values if value is None or _is_nan(value) else plain(values).fill_null(value)


def _filler(field: pa.Field, value: Any) -> pa.Scalar | float:
    """Return what fills a column: a value of its type, or NaN."""
    form, kind = form_of(field), plain_type(field.type)
    if form.shape or is_list(kind):
        raise InvalidSpec(f"fill: column {field.name!r} is {field.type}; only single values can be filled.")
    if isinstance(value, float) and math.isnan(value) and form.dtype is not None:
        return math.nan
    try:
        # Arrow makes decimals of no floats, but casts them.
        given = pa.array([value]).cast(kind) if pa.types.is_decimal(kind) else pa.array([value], kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidSpec(f"fill: {value!r} is no {kind} for {field.name!r}: {one_line(error)}.") from None
    if given.null_count:
        raise InvalidSpec(f"fill: {value!r} is no {kind} for {field.name!r}.")
    return plain(given)[0]


def _single(column: pa.Array | pa.ChunkedArray) -> pa.Array | None:
    """Return a column as one array, or None if it is several."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else None
    return column


def _is_nan(value: pa.Scalar | float | None) -> bool:
    return isinstance(value, float)


def _stacked_form(name: str, members: Mapping[str, Form]) -> Form:
    if not members:
        raise InvalidSpec(f"stack: {name!r} has no columns.")
    for column, form in members.items():
        if not form.is_number:
            raise InvalidSpec(f"stack: column {column!r} holds no single numbers; take it out of {name!r}.")
    return Form(np.result_type(*(form.dtype for form in members.values())), (len(members),))
