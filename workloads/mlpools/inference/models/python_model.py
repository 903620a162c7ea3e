"""A Python function, or a class whose ``load`` is called once and whose ``predict`` is called many times."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import pyarrow as pa

from mlpools.data.frames import to_table
from mlpools.errors import InvalidSpec, ModelUnreadable
from mlpools.inference.entrypoint import imported
from mlpools.inference.models import Given
from mlpools.inference.models.base import MAIN, Predictions, as_array, check_features, matrix

_Form = Literal["pandas", "arrow", "numpy", "polars"]


class PythonModel:
    """Calls the user's code."""

    names_columns = True

    def __init__(self, function: Callable[[Any], Any], columns: list[str], form: _Form) -> None:
        self._function = function
        self._form = form
        self.columns = columns
        self.unknown = 0

    def predict(self, rows: pa.Table) -> Predictions:
        """Return what the function does: one value a row, or several columns."""
        answer = self._function(_as(rows.select(self.columns), self._form))
        if isinstance(answer, Mapping):
            return {str(name): _array(values) for name, values in answer.items()}
        if _is_table(answer):
            table = to_table(answer)
            return {name: table.column(name).combine_chunks() for name in table.column_names}
        return {MAIN: _array(answer)}


def load(given: Given) -> PythonModel:
    """Import the function, or make and load an object of the class.

    Raises:
        CodeNotReadable: there is no such module or attribute.
        ModelUnreadable: it is neither a function nor a class with ``predict``.
    """
    form: Any = given.spec.params.get("batchFormat") or "pandas"
    if form not in get_args(_Form):
        raise InvalidSpec(
            f"model.params.batchFormat is {form!r}; it has to be one of {', '.join(get_args(_Form))}."
        )
    found = imported(given.spec.entrypoint)
    if inspect.isclass(found):
        found = _loaded(found(), given)
    if not callable(found):
        raise ModelUnreadable(f"model.entrypoint {given.spec.entrypoint} is no function and no class.")
    features = list(given.features) or given.schema.names
    check_features("Python model", features, given.schema, texts=None)
    return PythonModel(found, features, form)


def _loaded(instance: Any, given: Given) -> Callable[[Any], Any]:
    """Return ``predict`` of an object, after its ``load`` was given the model's path."""
    if not callable(getattr(instance, "predict", None)):
        raise ModelUnreadable(
            f"The class {given.spec.entrypoint} has no method predict(batch), which is called for the rows."
        )
    if hasattr(instance, "load"):
        arguments = [given.path] if inspect.signature(instance.load).parameters else []
        instance.load(*arguments)
    predict: Callable[[Any], Any] = instance.predict
    return predict


def _as(rows: pa.Table, form: _Form) -> Any:
    if form == "pandas":
        return rows.to_pandas()
    if form == "numpy":
        return matrix(rows, "float64")
    if form == "polars":
        import polars

        return polars.from_arrow(rows)
    return rows


def _is_table(answer: Any) -> bool:
    """Whether an answer has named columns; a Series or an array has not."""
    return isinstance(answer, pa.Table | pa.RecordBatch) or type(answer).__name__ == "DataFrame"


def _array(values: Any) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, list | tuple):
        return pa.array(values)
    dtype = getattr(values, "dtype", None)
    if type(values).__name__ == "Series" or getattr(dtype, "kind", "") == "O":
        return pa.array(list(values) if getattr(dtype, "kind", "") == "O" else values.to_numpy())
    return as_array(values)
