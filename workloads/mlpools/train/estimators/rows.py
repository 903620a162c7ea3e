"""What a caller learns from and predicts for, as connectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mlpools.data import DataConnector
from mlpools.errors import DataNotReadable, InvalidSpec

#: Name of the label column where its values come without one, as in ``fit(X, y)``.
LABEL = "label"


@dataclasses.dataclass(frozen=True)
class Roles:
    """Which column is what; empty names are columns that are not there.

    Attributes:
        label: to predict.
        features: to learn from, in this order; empty = every other column.
        weight: how much a row counts.
        group: rows with equal values are ranked together.
        base_margin: what the model starts from.
    """

    label: str
    features: tuple[str, ...] = ()
    weight: str = ""
    group: str = ""
    base_margin: str = ""

    @property
    def all(self) -> list[str] | None:
        """Every column that is needed, or None where that is every column."""
        if not self.features:
            return None
        others = (self.label, self.weight, self.group, self.base_margin)
        return [*self.features, *(name for name in others if name and name not in self.features)]


def connected(given: Any) -> DataConnector:
    """Return a data set that is a connector, a frame of any library, or an array of shape [rows, columns].

    Raises:
        TypeError: it is none of them.
    """
    if isinstance(given, DataConnector):
        return given
    return DataConnector.from_dataframe(_array(given) if isinstance(given, np.ndarray) else given)


def labelled(features: Any, label: Any) -> tuple[DataConnector, Roles]:
    """Return scikit-learn's form, a frame or an array and the labels of its rows, as one data set.

    Raises:
        DataNotReadable: their lengths differ.
        InvalidSpec: a feature has the label's name.
    """
    if isinstance(features, DataConnector):
        raise InvalidSpec("Labels beside a DataConnector make no sense; name their column with label_col.")
    table = connected(features).to_arrow()
    values = label.to_numpy() if hasattr(label, "to_numpy") else np.asarray(label)
    if values.ndim != 1 or len(values) != table.num_rows:
        raise DataNotReadable(
            f"y must have one value for each of the {table.num_rows:,} rows, but has shape {values.shape}."
        )
    name = str(getattr(label, "name", None) or LABEL)
    if name in table.column_names:
        raise InvalidSpec(f"The label is named {name!r} as a feature is; rename one of them.")
    roles = Roles(name, tuple(table.column_names))
    return DataConnector.from_dataframe(table.append_column(name, pa.array(values))), roles


def held_out(given: Any, roles: Roles, *, with_labels: bool) -> dict[str, DataConnector]:
    """Return the data sets that a model is measured on, by name.

    Args:
        given: None, one set, a mapping from names to sets, or several in a list: they are named ``eval``,
            ``eval_1`` and so on.
        roles: of the columns.
        with_labels: each set is a pair of features and labels, as in ``fit(X, y, eval_set=[(X, y)])``.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        named = {str(name): item for name, item in given.items()}
    else:
        items = given if isinstance(given, list) else [given]
        named = {"eval" if i == 0 else f"eval_{i}": item for i, item in enumerate(items)}
    if "train" in named:
        raise InvalidSpec("A set of eval_set cannot be named train.")
    return {name: _held_out(item, roles, with_labels=with_labels) for name, item in named.items()}


def is_labels(given: Any) -> bool:
    """Tell labels from names of columns: both can be the second argument of ``fit``."""
    if given is None or isinstance(given, str):
        return False
    return not (isinstance(given, Sequence) and all(isinstance(item, str) for item in given))


def _held_out(item: Any, roles: Roles, *, with_labels: bool) -> DataConnector:
    if not with_labels:
        return connected(item)
    if not isinstance(item, tuple) or len(item) != 2:
        raise InvalidSpec("With fit(X, y), eval_set must be a pair (X, y) or a list of pairs.")
    connector, own = labelled(*item)
    if own.label == roles.label:
        return connector
    names = [roles.label if name == own.label else name for name in connector.schema.names]
    return DataConnector.from_dataframe(connector.to_arrow().rename_columns(names))


def _array(values: np.ndarray) -> pa.Table:
    if values.ndim != 2:
        raise DataNotReadable(f"An array of features must have shape [rows, columns], not {values.shape}.")
    return pa.table({f"f{i}": np.ascontiguousarray(column) for i, column in enumerate(values.T)})
