"""The rows of the output: kept columns, predictions, and what a row's own error was."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa

from mlpools.data.packs import PATH
from mlpools.errors import InvalidSpec, UserCodeError, at_hand, one_line
from mlpools.inference.models.base import Model
from mlpools.inference.scoring import Scored
from mlpools.inference.settings import ERROR_COLUMN, Settings


@dataclasses.dataclass(frozen=True)
class Form:
    """How rows of the output are put together.

    Attributes:
        kept: columns of the input, in order.
        column: name of the predictions.
        whole_names: the model's answers have whole names of columns.
        errors: whether there is a column of errors.
    """

    kept: tuple[str, ...]
    column: str
    whole_names: bool
    errors: bool

    @classmethod
    def of(cls, settings: Settings, model: Model, schema: pa.Schema) -> Form:
        """Return the form that was asked for.

        Raises:
            InvalidSpec: a column to keep is not in the input, or has the predictions' name.
        """
        output = settings.output
        kept = tuple(schema.names) if output.keep is None else output.keep
        if settings.files and not kept:
            kept = (PATH,)  # a prediction without its file says nothing
        for name in kept:
            if name not in schema.names:
                raise InvalidSpec(
                    f"output.keep names {name!r}, which the input has not. "
                    f"{at_hand(name, schema.names, 'Columns')}"
                )
        form = cls(kept, output.prediction_column, model.names_columns, settings.on_error == "Null")
        form._check([output.prediction_column] if not model.names_columns else [])
        return form

    def read(self, model: Model) -> list[str]:
        """Return the columns that have to be read."""
        return list(dict.fromkeys([*model.columns, *self.kept]))

    def rows(self, batch: pa.Table, scored: Scored) -> pa.Table:
        """Return rows of the output.

        Args:
            batch: of the input, with at least the kept columns.
            scored: its predictions; where there are none, neither are their columns.

        Raises:
            InvalidSpec: the model's answers have a kept column's name.
        """
        columns = {self._name(end): array for end, array in scored.predictions.items()}
        self._check(list(columns))
        if self.errors:
            errors = [scored.bad.get(row) for row in range(batch.num_rows)] if scored.bad else None
            columns[ERROR_COLUMN] = (
                pa.array(errors, pa.string()) if errors else pa.nulls(batch.num_rows, pa.string())
            )
        return pa.table({**{name: batch.column(name) for name in self.kept}, **columns})

    def blank(self, rows: pa.Table) -> pa.Table:
        """Return rows that have no predictions with a column for them."""
        return rows.add_column(len(self.kept), self.column, pa.nulls(rows.num_rows))

    def _name(self, end: str) -> str:
        return end if self.whole_names and end else f"{self.column}{end}"

    def _check(self, names: Sequence[str]) -> None:
        own = [*names, *([ERROR_COLUMN] if self.errors else [])]
        taken = next((name for name in own if name in self.kept), None)
        if taken is not None:
            raise InvalidSpec(
                f"The column {taken!r} is kept from the input, and the output has its own of this name: "
                "choose another output.predictionColumn, or leave it out of output.keep."
            )


def conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows in the form that all parts of the output have.

    Raises:
        UserCodeError: the model's answers are of other names or types than before.
    """
    if rows.schema.equals(schema):
        return rows
    if not set(rows.column_names) <= set(schema.names):
        raise _differ(rows, schema)
    missing = [field for field in schema if field.name not in rows.column_names]
    for field in missing:  # a batch whose rows are all bad has no answers
        rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    try:
        return rows.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise _differ(rows, schema, one_line(error)) from error


def _differ(rows: pa.Table, schema: pa.Schema, why: str = "") -> UserCodeError:
    return UserCodeError(
        f"The model's answers differ between batches: {_columns(rows.schema)}, after {_columns(schema)}"
        f"{f' ({why})' if why else ''}. Return the same columns, each of one type, for every batch."
    )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def settled(schema: pa.Schema) -> pa.Schema:
    """Return a schema without types that only say that no value was seen yet."""
    return pa.schema(
        [
            pa.field(field.name, pa.float64() if pa.types.is_null(field.type) else field.type)
            for field in schema
        ]
    )
