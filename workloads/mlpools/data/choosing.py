"""The choice of columns for a training, from the types of its data sets alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from mlpools.data.columns import Columns, Kind, kind_of
from mlpools.errors import DataNotReadable, InvalidSpec, at_hand


def choose(
    schemas: Mapping[str, pa.Schema],
    *,
    label: str,
    weight: str = "",
    margin: str = "",
    group: str = "",
    features: Sequence[str] = (),
    excluded: Sequence[str] = (),
) -> Columns:
    """Fix the columns from the types alone; the categories follow when the data is read.

    Args:
        schemas: of each data set by its name; ``train`` decides, the others must fit.
        label: what to predict.
        weight: column of row weights.
        margin: column of base margins.
        group: column whose equal values make a group.
        features: what to learn from, in this order; by default every other column.
        excluded: columns not to learn from.

    Raises:
        DataNotReadable: a column is absent or of a type that cannot be learned from.
        InvalidSpec: nothing is left to learn from, or the label is a feature.
    """
    train = schemas["train"]
    roles = {"label": label, "weight": weight, "base margin": margin, "group column": group}
    roles = {what: name for what, name in roles.items() if name}
    _one_role_each(roles, features)
    for what, name in [*roles.items(), *(("feature", name) for name in features)]:
        _field(train, name, "train", what)
    for name in {name for name in features if features.count(name) > 1}:
        raise InvalidSpec(f"The feature {name!r} is listed twice.")
    for name in excluded:
        _field(train, name, "train", "excluded column")
    chosen = list(features) or [name for name in train.names if name not in {*roles.values(), *excluded}]
    if not chosen:
        raise InvalidSpec("No column is left to learn from: every one is the label, the weight or excluded.")
    numbers = {what: name for what, name in roles.items() if what != "group column"}
    for what, name in numbers.items():
        if kind_of(train.field(name).type) in (None, "c"):
            raise DataNotReadable(
                f"Column {name!r} is {train.field(name).type}, but the {what} must be a number."
            )
    kinds = {name: _checked_kind(train.field(name), listed=bool(features)) for name in chosen}
    for data_name, schema in schemas.items():
        if group:
            _field(schema, group, data_name, "group column")
        for name in [*chosen, *numbers.values()]:
            field = _field(schema, name, data_name, "column")
            text = name in kinds and kinds[name] == "c"
            if (kind_of(field.type) == "c") != text or kind_of(field.type) is None:
                raise DataNotReadable(
                    f"Column {name!r} is {train.field(name).type} in train, but {field.type} in {data_name}. "
                    "Write both with the same type."
                )
    return Columns(tuple(chosen), tuple(kinds[name] for name in chosen), label, weight, margin, group)


def _one_role_each(roles: Mapping[str, str], features: Sequence[str]) -> None:
    """Refuse a column that is two things, such as label and feature."""
    for what, name in roles.items():
        if name in features:
            copied = "; a model would learn to copy it" if what == "label" else ""
            raise InvalidSpec(f"The {what} {name!r} is also listed under features{copied}.")
        other = next(it for it in roles if roles[it] == name)
        if other != what:
            raise InvalidSpec(f"Column {name!r} is both {other} and {what}; each needs a column of its own.")


def _field(schema: pa.Schema, name: str, data_name: str, what: str) -> pa.Field:
    if schema.get_field_index(name) < 0:
        raise DataNotReadable(
            f"The {what} {name!r} is not in the data {data_name!r}. {at_hand(name, schema.names, 'Columns')}"
        )
    return schema.field(name)


def _checked_kind(field: pa.Field, *, listed: bool) -> Kind:
    kind = kind_of(field.type)
    if kind is None:
        remedy = (
            "take it from features (from Python: input_cols)"
            if listed
            else "put it under excluded (from Python: name the others in input_cols)"
        )
        raise DataNotReadable(
            f"Column {field.name!r} is {field.type}, which is no feature: convert it to numbers or {remedy}."
        )
    return kind
