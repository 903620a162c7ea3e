"""The data contract of a training: which columns, in which order, of which kind, with which categories.

Rank 0 fixes it before data is read and sends it to all. Left alone, XGBoost accepts another column order
or another list of categories on each rank, and trains on the mixture without a word.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpools.errors import DataNotReadable, InvalidSpec, at_hand

#: A text column with more values than this is an identifier, not a category.
MAX_CATEGORIES = 10_000

Kind = Literal["int", "float", "i", "c"]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows in the form the contract fixes.

    Attributes:
        features: one column a feature, in order; categories as dictionary arrays over one common list.
        label: float64, no NaN.
        weight: float64, or None without a weight column.
        unknown: values of category columns that are not in the list; they count as missing.
    """

    features: pa.Table
    label: np.ndarray
    weight: np.ndarray | None
    unknown: int


@dataclasses.dataclass(frozen=True)
class Columns:
    """The data contract.

    Attributes:
        features: names in order.
        kinds: of each feature, in XGBoost's words: ``int``, ``float``, ``i`` (boolean), ``c`` (category).
        label: name of the label column.
        weight: name of the weight column, empty without.
        categories: of each category column, sorted; every rank and every later use has this list.
    """

    features: tuple[str, ...]
    kinds: tuple[Kind, ...]
    label: str
    weight: str = ""
    categories: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def all(self) -> list[str]:
        """Every column that has to be read."""
        extra = [name for name in (self.label, self.weight) if name]
        return [*self.features, *(name for name in extra if name not in self.features)]

    @property
    def categorical(self) -> list[str]:
        """The features whose categories have to be collected."""
        return [name for name, kind in zip(self.features, self.kinds, strict=True) if kind == "c"]

    def with_categories(self, found: Iterable[Mapping[str, Sequence[str]]]) -> Columns:
        """Return the contract with one sorted list a column, merged from what each rank found.

        Raises:
            DataNotReadable: a column has too many values to be a category.
        """
        merged: dict[str, set[str]] = {name: set() for name in self.categorical}
        for part in found:
            for name, texts in part.items():
                merged[name].update(texts)
        for name, values in merged.items():
            if len(values) > MAX_CATEGORIES:
                raise DataNotReadable(
                    f"Column {name!r} has {len(values):,} different texts, more than {MAX_CATEGORIES:,}: "
                    "it looks like an identifier. Put it under excluded, or group its values."
                )
        return dataclasses.replace(self, categories={name: tuple(sorted(v)) for name, v in merged.items()})

    def distinct(self, table: pa.Table) -> dict[str, list[str]]:
        """Return the different values of each category column of some rows."""
        return {name: _texts(pc.unique(_plain_text(table.column(name)))) for name in self.categorical}

    def convert(self, table: pa.Table, where: str) -> Batch:
        """Bring rows into the contract's form.

        Args:
            table: with at least the contract's columns.
            where: what the rows came from, for messages.

        Raises:
            DataNotReadable: a label or weight is empty or impossible.
        """
        arrays, unknown = [], 0
        for name, kind in zip(self.features, self.kinds, strict=True):
            column = table.column(name)
            if kind == "c":
                array, missed = _codes(column, self.categories[name])
                unknown += missed
            else:
                array = _number(column, kind)
            arrays.append(array)
        weight = _target(table, self.weight, "weight", where) if self.weight else None
        if weight is not None and (weight < 0).any():
            raise DataNotReadable(f"{where}: the weight column {self.weight!r} has negative values.")
        return Batch(
            features=pa.table(arrays, names=list(self.features)),
            label=_target(table, self.label, "label", where),
            weight=weight,
            unknown=unknown,
        )

    def filler(self) -> Batch:
        """Return one row that changes no metric: everything missing, weight 0.

        XGBoost refuses a rank that has no row of an evaluation set with categories. The label is 1, which
        every objective accepts.
        """
        arrays = [
            _codes(pa.nulls(1, pa.string()), self.categories[name])[0]
            if kind == "c"
            else pa.nulls(1, pa.float32())
            for name, kind in zip(self.features, self.kinds, strict=True)
        ]
        return Batch(pa.table(arrays, names=list(self.features)), np.ones(1), np.zeros(1), 0)

    def to_json(self) -> str:
        """Return the text that is sent to the other ranks and kept with the model."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Columns:
        """Read what ``to_json`` wrote."""
        raw = json.loads(text)
        raw["features"], raw["kinds"] = tuple(raw["features"]), tuple(raw["kinds"])
        raw["categories"] = {name: tuple(values) for name, values in raw["categories"].items()}
        return cls(**raw)


def choose(
    schemas: Mapping[str, pa.Schema],
    *,
    label: str,
    weight: str = "",
    features: Sequence[str] = (),
    excluded: Sequence[str] = (),
) -> Columns:
    """Fix the columns from the types alone; the categories follow when the data is read.

    Args:
        schemas: of each data set by its name; ``train`` decides, the others must fit.
        label: what to predict.
        weight: column of row weights.
        features: what to learn from, in this order; by default every other column.
        excluded: columns not to learn from.

    Raises:
        DataNotReadable: a column is absent or of a type that cannot be learned from.
        InvalidSpec: nothing is left to learn from, or the label is a feature.
    """
    train = schemas["train"]
    for what, names in (("label", [label]), ("weight", [weight] if weight else []), ("feature", features)):
        for name in names:
            _field(train, name, "train", what)
    for name in {name for name in features if features.count(name) > 1}:
        raise InvalidSpec(f"The feature {name!r} is listed twice.")
    if label in features:
        raise InvalidSpec(
            f"The label {label!r} is also listed under features; a model would learn to copy it."
        )
    for name in excluded:
        _field(train, name, "train", "excluded column")
    chosen = list(features) or [name for name in train.names if name not in {label, weight, *excluded}]
    if not chosen:
        raise InvalidSpec("No column is left to learn from: every one is the label, the weight or excluded.")
    for name in (label, weight):
        if name and _kind(train.field(name).type) in (None, "c"):
            raise DataNotReadable(
                f"Column {name!r} is {train.field(name).type}, but a label or weight must be a number."
            )
    kinds = {name: _checked_kind(train.field(name), listed=bool(features)) for name in chosen}
    for data_name, schema in schemas.items():
        for name in [*chosen, label, *([weight] if weight else [])]:
            field = _field(schema, name, data_name, "column")
            text = name in kinds and kinds[name] == "c"
            if (_kind(field.type) == "c") != text or _kind(field.type) is None:
                raise DataNotReadable(
                    f"Column {name!r} is {train.field(name).type} in train, but {field.type} in {data_name}. "
                    "Write both with the same type."
                )
    return Columns(tuple(chosen), tuple(kinds[name] for name in chosen), label, weight)


def _field(schema: pa.Schema, name: str, data_name: str, what: str) -> pa.Field:
    if schema.get_field_index(name) < 0:
        raise DataNotReadable(
            f"The {what} {name!r} is not in the data {data_name!r}. {at_hand(name, schema.names, 'Columns')}"
        )
    return schema.field(name)


def _checked_kind(field: pa.Field, *, listed: bool) -> Kind:
    kind = _kind(field.type)
    if kind is None:
        remedy = "take it from features" if listed else "put it under excluded"
        raise DataNotReadable(
            f"Column {field.name!r} is {field.type}, which is no feature: convert it to numbers or {remedy}."
        )
    return kind


def _kind(kind: pa.DataType) -> Kind | None:
    """Return how a type is learned from, or None."""
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_boolean(kind):
        return "i"
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "c"
    return None


def _number(column: pa.ChunkedArray, kind: Kind) -> pa.ChunkedArray:
    """Return a column as XGBoost takes it: plain integers or floats, missing values as nulls."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind == "i":
        return column.cast(pa.uint8())
    if pa.types.is_null(column.type):
        return column.cast(pa.float32())
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column


def _plain_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_dictionary(column.type) or not pa.types.is_string(kind):
        return column.cast(pa.string())
    return column


def _texts(array: pa.Array) -> list[str]:
    return [value for value in array.to_pylist() if value is not None]


def _codes(column: pa.ChunkedArray | pa.Array, categories: Sequence[str]) -> tuple[pa.DictionaryArray, int]:
    """Return a column over the common list of categories, and how many values are not in it."""
    text = _plain_text(column)
    codes = pc.index_in(text, value_set=pa.array(categories, pa.string()))
    unknown = codes.null_count - text.null_count
    if isinstance(codes, pa.ChunkedArray):
        codes = codes.combine_chunks()
    # XGBoost cannot take an empty list; a column without any value has one that is never used.
    return pa.DictionaryArray.from_arrays(codes, pa.array(categories or ("",), pa.string())), unknown


def _target(table: pa.Table, name: str, what: str, where: str) -> np.ndarray:
    column = table.column(name)
    values: np.ndarray = _number(column, _kind(column.type) or "float").cast(pa.float64()).to_numpy()
    empty = int(np.isnan(values).sum())
    if empty:
        raise DataNotReadable(
            f"{where}: the {what} column {name!r} has {empty:,} empty values; remove those rows."
        )
    return values
