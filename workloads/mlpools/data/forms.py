"""What a column of each Arrow type becomes in a batch for training: the conversion table.

``docs/data.md`` has the table for users. Its rules: an array's type depends on the column's type alone, never
on the values of a batch; nothing is rounded or wrapped silently; what has no tensor form is refused by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlpools.errors import DataNotReadable

#: Decimal digits that fit into an integer of so many bits.
_INTEGERS = ((4, pa.int16()), (9, pa.int32()))
_INT64 = (-(2**63), 2**63 - 1)
_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_REFUSED: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_struct, "select its fields as columns of their own"),
    (pa.types.is_map, "select the keys you need as columns of their own"),
    (pa.types.is_union, "give all its values one type"),
    (pa.types.is_interval, "write it as a duration, or as numbers"),
)


@dataclasses.dataclass(frozen=True)
class Form:
    """What a column becomes.

    Attributes:
        dtype: of its array; None where it stays a list of Python values: text, bytes and lists of them.
        shape: of one row: ``()`` for a number, ``(3,)`` for a list of three, ``(None,)`` for a list whose
            length the rows of a batch share without its being known before.
    """

    dtype: np.dtype[np.generic] | None
    shape: tuple[int | None, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether a row is a single number."""
        return self.dtype is not None and not self.shape


@dataclasses.dataclass(frozen=True)
class Place:
    """Which rows are being converted, for messages.

    Attributes:
        column: its name.
        where: what the rows came from; may be empty.
        per_row: how many of the values at hand belong to one row: more than one within lists.
        first: row of the batch at which the values begin.
        in_list: whether they are a column's lists, or within them.
    """

    column: str
    where: str = ""
    per_row: int = 1
    first: int = 0
    in_list: bool = False

    def refuse(self, index: int, why: str) -> NoReturn:
        """Raise for the value at ``index``.

        Raises:
            DataNotReadable: always.
        """
        row = self.first + index // self.per_row
        prefix = f"{self.where}: column" if self.where else "Column"
        raise DataNotReadable(f"{prefix} {self.column!r}, row {row:,} of the batch, {why}")


def form_of(field: pa.Field) -> Form:
    """Return what a column becomes.

    Raises:
        DataNotReadable: its type has no tensor form.
    """
    return _form(field.type, field)


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is one of Arrow's five kinds of lists."""
    return any(test(kind) for test in _LISTS)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values without encodings and extensions."""
    while not isinstance(kind, pa.FixedShapeTensorType):
        if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        elif isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        else:
            break
    return kind


def plain(values: pa.Array) -> pa.Array:
    """Undo encodings and extensions, and name times by the integers that they are stored as."""
    if isinstance(values, pa.DictionaryArray):
        return plain(values.dictionary_decode())
    if isinstance(values, pa.RunEndEncodedArray):
        return plain(pc.run_end_decode(values))
    if isinstance(values, pa.ExtensionArray) and not isinstance(values, pa.FixedShapeTensorArray):
        return plain(values.storage)
    if pa.types.is_null(values.type):
        return values.cast(pa.float32())
    return values.view(_stored_integer(values.type)) if pa.types.is_temporal(values.type) else values


def to_list(values: pa.Array) -> list[object]:
    """Return text, bytes or lists of them as Python values; an empty value is None."""
    found: list[object] = plain(values).to_pylist()
    return found


def to_array(values: pa.Array, place: Place, *, missing_as_nan: bool = False) -> npt.NDArray[np.generic]:
    """Return a column's values as an array; without a copy where the bytes are the same.

    Args:
        values: of a type whose form has a dtype.
        place: of the values, for messages.
        missing_as_nan: what is missing among integers and booleans becomes NaN in an array of float64,
            for a caller who wants floats anyway; otherwise it is refused. Among floats it always is NaN.

    Returns:
        An array of the form's dtype, shape ``(rows, *form.shape)``. It is read-only where it shares Arrow's
        memory.

    Raises:
        DataNotReadable: a value is missing that has to be there, does not fit, or lists differ in length.
    """
    values = plain(values)
    if isinstance(values, pa.FixedShapeTensorArray):
        return _tensors(values, place)
    if is_list(values.type):
        return _lists(values, place)
    if pa.types.is_decimal(values.type):
        values = _decimals(values, place)
    if values.null_count and not pa.types.is_floating(values.type):
        if not missing_as_nan:
            _refuse_missing(values, place)
        values = values.cast(pa.float64(), safe=False)
    return numbers(values)


def numbers(values: pa.Array) -> npt.NDArray[np.generic]:
    """Return single numbers as an array; what is missing among floats becomes NaN.

    Arrow's own ways to numpy, and to it, import pandas: that takes longer than to read a first row group.
    """
    if pa.types.is_boolean(values.type):
        return numbers(values.cast(pa.uint8())).view(np.bool_)
    dtype = np.dtype(values.type.to_pandas_dtype())
    if not len(values):
        return np.empty(0, dtype)
    array = np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * dtype.itemsize)
    if values.null_count:
        return np.where(numbers(values.is_null()), dtype.type(np.nan), array)
    array.flags.writeable = False
    return array


def _form(kind: pa.DataType, field: pa.Field) -> Form:
    kind = plain_type(kind)
    if isinstance(kind, pa.FixedShapeTensorType):
        return Form(_form(kind.value_type, field).dtype, _tensor_shape(kind))
    if pa.types.is_null(kind):
        return Form(np.dtype(np.float32))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Form(np.dtype(kind.to_pandas_dtype()))
    if pa.types.is_decimal(kind):
        return Form(np.dtype(_decimal_target(kind).to_pandas_dtype()))
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return Form(np.dtype(_stored_integer(kind).to_pandas_dtype()))
    if _is_text(kind):
        return Form(None)
    if is_list(kind):
        inner = _form(kind.value_type, field)
        length = kind.list_size if pa.types.is_fixed_size_list(kind) else None
        return Form(None) if inner.dtype is None else Form(inner.dtype, (length, *inner.shape))
    remedy = next((remedy for refused, remedy in _REFUSED if refused(kind)), "convert it to numbers or text")
    raise DataNotReadable(
        f"Column {field.name!r} is {field.type}, which has no tensor form: {remedy}, "
        "or leave the column out with columns=[…]."
    )


def _decimals(values: pa.Array, place: Place) -> pa.Array:
    target = _decimal_target(values.type)
    if pa.types.is_floating(target):
        return values.cast(target)
    # Arrow casts its two narrow decimals to integers of their own width only.
    wide = values if values.type.byte_width > 8 else values.cast(pa.decimal128(38, values.type.scale))
    try:
        return wide.cast(target)
    except pa.ArrowInvalid:
        numbers = enumerate(values.to_pylist())
        wrong = next(
            i for i, number in numbers if number is not None and not _INT64[0] <= number <= _INT64[1]
        )
        place.refuse(wrong, "does not fit into 64 bits; select it as a float.")


def _lists(values: pa.Array, place: Place) -> npt.NDArray[np.generic]:
    place = dataclasses.replace(place, in_list=True)
    _refuse_missing(values, place)
    lengths = values.value_lengths().to_numpy()
    length = int(lengths[0]) if len(lengths) else getattr(values.type, "list_size", 0)
    odd = np.flatnonzero(lengths != length)
    if len(odd):
        place.refuse(
            int(odd[0]),
            f"is a list of {lengths[odd[0]]} after lists of {length}, but a tensor needs one length. "
            "Pad or cut the lists, or leave the column out with columns=[…].",
        )
    inner = dataclasses.replace(place, per_row=place.per_row * max(length, 1))
    items = to_array(values.flatten(), inner)
    return items.reshape(len(values), length, *items.shape[1:])


def _tensors(values: pa.FixedShapeTensorArray, place: Place) -> npt.NDArray[np.generic]:
    stored = _lists(values.storage, place).reshape(len(values), *values.type.shape)
    order = values.type.permutation
    return stored if order is None else stored.transpose(0, *(axis + 1 for axis in order))


def _refuse_missing(values: pa.Array, place: Place) -> None:
    if values.null_count:
        fill = "" if place.in_list else f"Give one with fill={{{place.column!r}: …}}, or leave"
        place.refuse(
            pc.index(values.is_null(), True).as_py(),
            f"is empty, and {values.type} has no value that means so. {fill or 'Leave'} such rows out "
            "with a filter.",
        )


def _decimal_target(kind: pa.DataType) -> pa.DataType:
    if kind.scale > 0:
        return pa.float32() if pa.types.is_decimal32(kind) else pa.float64()
    digits = kind.precision - kind.scale
    return next((target for limit, target in _INTEGERS if digits <= limit), pa.int64())


def _stored_integer(kind: pa.DataType) -> pa.DataType:
    return pa.int32() if kind.bit_width == 32 else pa.int64()


def _tensor_shape(kind: pa.DataType) -> tuple[int, ...]:
    order = kind.permutation or range(len(kind.shape))
    return tuple(kind.shape[axis] for axis in order)


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in _TEXTS)
