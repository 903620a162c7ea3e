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
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data.forms import numbers
from mlpools.data.groups import runs
from mlpools.errors import DataNotReadable

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
        margin: float64, what the model starts from, or None without such a column.
        group: uint32, which group each row is of, counted from 0 in this batch; None without a group column.
        unknown: values of category columns that are not in the list; they count as missing.
    """

    features: pa.Table
    label: np.ndarray
    weight: np.ndarray | None
    margin: np.ndarray | None
    group: npt.NDArray[np.uint32] | None
    unknown: int


@dataclasses.dataclass(frozen=True)
class Columns:
    """The data contract.

    Attributes:
        features: names in order.
        kinds: of each feature, in XGBoost's words: ``int``, ``float``, ``i`` (boolean), ``c`` (category).
        label: name of the label column.
        weight: name of the weight column, empty without.
        margin: name of the column of base margins, empty without.
        group: name of the column whose equal values make a group of rows, empty without.
        categories: of each category column, sorted; every rank and every later use has this list.
    """

    features: tuple[str, ...]
    kinds: tuple[Kind, ...]
    label: str
    weight: str = ""
    margin: str = ""
    group: str = ""
    categories: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def all(self) -> list[str]:
        """Every column that has to be read."""
        extra = [name for name in (self.label, self.weight, self.margin, self.group) if name]
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
            table: with at least the contract's columns; with a group column, whole groups.
            where: what the rows came from, for messages.

        Raises:
            DataNotReadable: a label or weight is empty or impossible.
        """
        features, unknown = self.inputs(table)
        weight = _target(table, self.weight, "weight", where) if self.weight else None
        if weight is not None and (weight < 0).any():
            raise DataNotReadable(f"{where}: the weight column {self.weight!r} has negative values.")
        return Batch(
            features=features,
            label=_target(table, self.label, "label", where),
            weight=weight,
            margin=_target(table, self.margin, "base margin", where) if self.margin else None,
            group=_numbered(table.column(self.group)) if self.group else None,
            unknown=unknown,
        )

    def inputs(self, table: pa.Table) -> tuple[pa.Table, int]:
        """Return the features of rows in the contract's form, and how many values are of unknown categories.

        Args:
            table: with at least the features.
        """
        arrays, unknown = [], 0
        for name, kind in zip(self.features, self.kinds, strict=True):
            column = table.column(name)
            if kind == "c":
                array, missed = _codes(column, self.categories[name])
                unknown += missed
            else:
                array = number(column, kind)
            arrays.append(array)
        return pa.table(arrays, names=list(self.features)), unknown

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
        return Batch(
            features=pa.table(arrays, names=list(self.features)),
            label=np.ones(1),
            weight=np.zeros(1),
            margin=np.zeros(1) if self.margin else None,
            group=np.zeros(1, np.uint32) if self.group else None,
            unknown=0,
        )

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


def kind_of(kind: pa.DataType) -> Kind | None:
    """Return how a type is learned from, or None if it cannot be."""
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if pa.types.is_boolean(kind):
        return "i"
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "c"
    return None


def number(column: pa.ChunkedArray, kind: Kind) -> pa.ChunkedArray:
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


def _numbered(column: pa.ChunkedArray) -> npt.NDArray[np.uint32]:
    """Return the number of the run of equal values that each row is in."""
    starts = np.zeros(len(column), np.uint32)
    starts[runs(column.combine_chunks())[1:]] = 1
    return np.cumsum(starts, dtype=np.uint32)


def _target(table: pa.Table, name: str, what: str, where: str) -> np.ndarray:
    column = table.column(name)
    floats = number(column, kind_of(column.type) or "float").cast(pa.float64()).combine_chunks()
    values: np.ndarray = numbers(floats)
    empty = int(np.isnan(values).sum())
    if empty:
        raise DataNotReadable(
            f"{where}: the {what} column {name!r} has {empty:,} empty values; remove those rows."
        )
    return values
