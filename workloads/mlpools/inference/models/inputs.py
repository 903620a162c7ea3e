"""Rows as models of trees take them: plain numbers, and categories as their places in the model's lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data.columns import Columns, kind_of, number


@dataclasses.dataclass
class Inputs:
    """What a model has learned from.

    Attributes:
        features: names in the model's order.
        categories: of features that are categories, the values in the model's order.
        unknown: values so far that are in no list; they counted as missing.
    """

    features: Sequence[str]
    categories: Mapping[str, pa.Array] = dataclasses.field(default_factory=dict)
    unknown: int = 0

    @classmethod
    def of_contract(cls, contract: Columns) -> Inputs:
        """Return those of a model that a training job of ours made."""
        # XGBoost cannot take an empty list; a feature without any value has one that is never used.
        lists = {
            name: pa.array(contract.categories[name] or ("",), pa.string()) for name in contract.categorical
        }
        return cls(contract.features, lists)

    @property
    def texts(self) -> list[str]:
        """The features that are texts."""
        return [name for name, values in self.categories.items() if kind_of(values.type) == "c"]

    def table(self, rows: pa.Table) -> pa.Table:
        """Return the features of rows: numbers, and categories as dictionaries over their lists."""
        columns = [
            self._places(rows.column(name), values)
            if (values := self.categories.get(name)) is not None
            else number(rows.column(name), kind_of(rows.column(name).type) or "float")
            for name in self.features
        ]
        return pa.table(columns, names=list(self.features))

    def numbers(self, rows: pa.Table) -> pa.Table:
        """Return the features of rows as numbers alone; categories are their places in the lists."""
        found = self.table(rows)
        for at, column in enumerate(found.columns):
            if pa.types.is_dictionary(column.type):  # its places are exact: no model has millions of them
                places = [chunk.indices.cast(pa.float32()) for chunk in column.chunks]
                found = found.set_column(at, found.column_names[at], pa.chunked_array(places, pa.float32()))
        return found

    def _places(self, column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
        column = column.cast(values.type)
        places = pc.index_in(column, value_set=values)
        self.unknown += places.null_count - column.null_count
        chunks = [pa.DictionaryArray.from_arrays(chunk, values) for chunk in places.chunks]
        return pa.chunked_array(chunks, pa.dictionary(pa.int32(), values.type))
