"""What a database's types become in Arrow and Parquet, and the error of those that become nothing.

Drivers hand types that Arrow lacks through as ``arrow.opaque``: bytes or texts with the type's name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mlpools.errors import DataNotReadable

#: PostgreSQL's types with a form in Arrow that misleads, or none in Parquet: what to write instead.
_CASTS = {
    "money": "CAST({} AS numeric)",
    "oid": "CAST({} AS bigint)",
    "interval": "EXTRACT(EPOCH FROM {})",
}
_DECIMAL_DIGITS = 38
#: Dates and times outside of these are infinity, or earlier than any calendar; their raw values wrap around.
_DAYS = (-2_500_000, 2_147_000_000)
_MICROSECONDS = (-211_000_000_000_000_000, (1 << 63) - 3)

Convert = Callable[[pa.Array], pa.Array]


class Values:
    """Brings the batches of one query into types that Parquet keeps.

    Attributes:
        schema: of the result.
    """

    def __init__(self, given: pa.Schema) -> None:
        """Decide on every column.

        Raises:
            DataNotReadable: a type has no form in Arrow, or two columns have one name.
        """
        doubled = {name for name in given.names if given.names.count(name) > 1}
        if doubled:
            raise DataNotReadable(
                f"The query has two columns {min(doubled)!r}; give one of them another name with AS."
            )
        self._converts = [_converter(field) for field in given]
        empty = [convert(_empty(field.type)) for field, convert in zip(given, self._converts, strict=True)]
        self.schema = pa.schema(
            [pa.field(name, array.type) for name, array in zip(given.names, empty, strict=True)]
        )

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch in the types of ``schema``.

        Raises:
            DataNotReadable: a value cannot be kept, such as an infinite date.
        """
        pairs = zip(batch.schema, batch.columns, self._converts, strict=True)
        arrays = [_checked(field.name, convert, array) for field, array, convert in pairs]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _converter(field: pa.Field) -> Convert:
    """Return how a column is converted; the identity for what Arrow and Parquet both have."""
    kind, metadata = field.type, field.metadata or {}
    database_type = metadata.get(b"POSTGRESQL:type", b"").decode()
    if database_type in _CASTS:
        raise _refusal(field.name, database_type, _CASTS[database_type])
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(field.name, kind, int(metadata.get(b"POSTGRESQL:typmod", b"-1")))
    if pa.types.is_list(kind):
        return functools.partial(_list, _converter(kind.value_field.with_name(field.name)))
    if pa.types.is_interval(kind):
        raise _refusal(field.name, "an interval", _CASTS["interval"])
    if pa.types.is_union(kind) or _holds_extension(kind):
        raise _refusal(field.name, str(kind))
    return _same


def _extension(name: str, kind: pa.BaseExtensionType, typmod: int) -> Convert:
    if kind.extension_name == "arrow.json":
        return lambda array: array.storage
    if kind.extension_name == "arrow.uuid":
        return _uuid
    if kind.extension_name == "arrow.opaque" and kind.type_name == "numeric":
        # An array's numerics come without their precision, and so do sums and averages.
        target = pa.float64() if typmod < 0 else _decimal(typmod)
        return lambda array: pc.cast(array.storage, target)
    told = kind.type_name if kind.extension_name == "arrow.opaque" else kind.extension_name
    raise _refusal(name, told)


def _decimal(typmod: int) -> pa.DataType:
    """Return the type of PostgreSQL's ``numeric(precision, scale)``; a double where Arrow has no such one."""
    precision, scale = (typmod - 4) >> 16, (typmod - 4) & 0x7FF
    fits = precision <= _DECIMAL_DIGITS and scale <= precision
    return pa.decimal128(precision, scale) if fits else pa.float64()


def _checked(name: str, convert: Convert, array: pa.Array) -> pa.Array:
    try:
        result = convert(array)
    except pa.ArrowException as error:
        remedy = f"CAST({name} AS double precision)"
        raise DataNotReadable(
            f"Column {name!r} has a value that {_told(array.type)} cannot keep, such as NaN; "
            f"write {remedy} in the query."
        ) from error
    if pa.types.is_date32(result.type):
        _refuse_infinity(name, result.view(pa.int32()), _DAYS)
    elif pa.types.is_timestamp(result.type) and result.type.unit == "us":
        _refuse_infinity(name, result.view(pa.int64()), _MICROSECONDS)
    return result


def _refuse_infinity(name: str, raw: pa.Array, limits: Sequence[int]) -> None:
    found = pc.min_max(raw)
    low, high = found["min"].as_py(), found["max"].as_py()
    if low is not None and (low < limits[0] or high > limits[1]):
        raise DataNotReadable(
            f"Column {name!r} holds infinity, or a time that Arrow has not; write NULLIF({name}, 'infinity') "
            "in the query, or leave such rows out."
        )


def _refusal(name: str, told: str, cast: str = "CAST({} AS text)") -> DataNotReadable:
    return DataNotReadable(
        f"Column {name!r} has the database's type {told}, which has no form here; "
        f"write {cast.format(name)} in the query."
    )


def _told(kind: pa.DataType) -> str:
    return "a numeric of fixed precision" if isinstance(kind, pa.BaseExtensionType) else str(kind)


def _same(array: pa.Array) -> pa.Array:
    return array


def _list(convert: Convert, array: pa.Array) -> pa.Array:
    values = convert(array.values)
    if values is array.values:
        return array
    # A list whose both ends are null is null; so a slice keeps its place among the values.
    starts = array.offsets[: len(array)]
    nulls = pc.if_else(array.is_null(), pa.scalar(None, pa.int32()), starts)
    return pa.ListArray.from_arrays(pa.concat_arrays([nulls, array.offsets[len(array) :]]), values)


def _uuid(array: pa.Array) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())


def _empty(kind: pa.DataType) -> pa.Array:
    """Return an array without values; Arrow makes none of a list of extension types by itself."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _empty(kind.storage_type))
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays([0], _empty(kind.value_type))
    return pa.array([], kind)


def _holds_extension(kind: pa.DataType) -> bool:
    """Whether something inside of a struct or map is no plain Arrow type."""
    return any(
        isinstance(child.type, pa.BaseExtensionType) or _holds_extension(child.type)
        for child in (kind.field(i) for i in range(kind.num_fields))
    )
