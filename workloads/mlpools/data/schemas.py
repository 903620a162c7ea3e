"""One schema for files that differ: which differences are bridged, and which are an error."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mlpools.errors import DataNotReadable, at_hand


def common_schema(
    schemas: Sequence[tuple[str, pa.Schema]], remedy: str = "", *, sparse: bool = False
) -> pa.Schema:
    """Return the columns of the first file, each in a type that holds the values of all files.

    Integers and floats widen, a column without any value takes the others' type, further columns of
    later files are left out. A column that a file lacks is an error: filled with nulls it would be half
    empty without a word.

    Args:
        schemas: of each file, with the name that messages use.
        remedy: what else helps where types differ, a sentence.
        sparse: take the columns of all files instead; one that a file lacks is null there.

    Raises:
        DataNotReadable: a column is missing or its types do not meet; both files are named.
    """
    first_name, first = schemas[0]
    common = first.remove_metadata()
    if sparse:
        further = {field.name: field for _, schema in schemas[1:] for field in schema}
        common = pa.schema([*common, *(field for name, field in further.items() if name not in common.names)])
    seen = [first]
    for name, schema in schemas[1:]:
        if any(schema.equals(other) for other in seen):
            continue
        seen.append(schema)
        for i, field in enumerate(common):
            if schema.get_field_index(field.name) < 0:
                if sparse:
                    continue
                raise DataNotReadable(
                    f"{name} has no column {field.name!r}, which {first_name} has. "
                    "Write the files with the same columns, or choose columns that all of them have."
                )
            other = schema.field(field.name)
            merged = _merge(field, other)
            if merged is None:
                raise DataNotReadable(
                    f"Column {field.name!r} is {field.type} in {first_name}, but {other.type} in {name}. "
                    f"{remedy or 'Write both with the same type.'}"
                )
            common = common.set(i, merged)
    return common


def plain(schema: pa.Schema) -> pa.Schema:
    """Return a schema with text and bytes in the types that Arrow can do everything with.

    Columns of views, as polars writes them, can be neither filtered nor shown to every library.
    """
    return pa.schema([field.with_type(_PLAIN.get(field.type, field.type)) for field in schema])


def without_null_types(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which a column without any value seen is text, which holds whatever comes."""
    return pa.schema(
        [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema]
    )


def select(schema: pa.Schema, columns: Sequence[str], where: str) -> pa.Schema:
    """Return some columns of a schema, in their order; all without a choice.

    Raises:
        DataNotReadable: there is no such column; the closest is named.
    """
    for name in columns:
        if schema.get_field_index(name) < 0:
            raise DataNotReadable(f"{where} has no column {name!r}. {at_hand(name, schema.names, 'Columns')}")
    return pa.schema([schema.field(name) for name in columns]) if columns else schema


def cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the same columns in the schema's types, without a copy where they agree.

    Raises:
        ValueError: a value does not fit; the message is a clause that names the column.
    """
    for i, field in enumerate(schema):
        if table.schema.field(i).type != field.type:
            try:
                table = table.set_column(i, field, table.column(i).cast(field.type))
            except pa.ArrowException as error:
                raise ValueError(f"column {field.name!r} does not fit {field.type}: {error}") from error
    return table


_PLAIN = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


def _merge(a: pa.Field, b: pa.Field) -> pa.Field | None:
    """Return one field for both, or None."""
    try:
        merged = pa.unify_schemas(
            [pa.schema([a.remove_metadata()]), pa.schema([b.remove_metadata()])],
            promote_options="permissive",
        )
    except pa.ArrowException:
        return None
    return merged.field(0)
