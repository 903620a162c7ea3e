"""One call of the model for all rows of a key, and what it answers as rows of the output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from mlpools.errors import JobError, UserCodeError, one_line
from mlpools.inference.models.base import Model, Predictions
from mlpools.inference.partitions.gather import PoisonKey, key_text
from mlpools.inference.rows import Form
from mlpools.inference.scoring import Scored
from mlpools.inference.settings import OnError


@dataclasses.dataclass(frozen=True)
class Answer:
    """What became of a key.

    Attributes:
        rows: of the output.
        error: why they have no predictions, if so.
        key: as a text, if there is an error.
    """

    rows: pa.Table
    error: str = ""
    key: str = ""


@dataclasses.dataclass(frozen=True)
class Caller:
    """Calls the model.

    Attributes:
        model: that is called.
        form: of the output's rows.
        column: of the keys.
        on_error: what a key does that the model fails on.
        alive: called after each call.
    """

    model: Model
    form: Form
    column: str
    on_error: OnError
    alive: Callable[[], None]

    def call(self, rows: pa.Table) -> Answer:
        """Return what the model says to all rows of a key.

        Raises:
            PoisonKey: it fails, and a bad key fails its shard.
            UserCodeError: its answer has too many or too few rows.
        """
        try:
            found = self.model.predict(rows)
        except JobError:
            raise
        except Exception as error:
            sentence, key = f"{type(error).__name__}: {one_line(error)}", key_text(rows, self.column)
            if self.on_error == "FailShard":
                raise PoisonKey(key, sentence) from error
            nothing = Scored({}, dict.fromkeys(range(rows.num_rows), sentence))
            return Answer(self.form.rows(rows, nothing), sentence, key)
        self.alive()
        return Answer(self.form.rows(self._beside(rows, found), Scored(found, {})))

    def _beside(self, rows: pa.Table, found: Predictions) -> pa.Table:
        """Return the rows of the input that stand beside the model's: the key alone, if theirs are others."""
        lengths = {len(array) for array in found.values()}
        if lengths == {rows.num_rows} or not found:
            return rows
        key, said = key_text(rows, self.column), " and ".join(f"{length:,}" for length in sorted(lengths))
        if len(lengths) > 1:
            raise UserCodeError(
                f"The model returned columns of {said} rows for {self.column} = {key}. They have to be of "
                "one length."
            )
        if not self.model.names_columns:
            raise UserCodeError(
                f"The model returned {said} predictions for the {rows.num_rows:,} rows of {self.column} = "
                f"{key}. It has to return one for each row, in their order."
            )
        others = [name for name in self.form.kept if name != self.column]
        if others:
            raise UserCodeError(
                f"The function returned {said} rows for the {rows.num_rows:,} of {self.column} = {key}, so "
                f"that no row of the input belongs to one of the output: of output.keep only {self.column!r} "
                f"can stand beside them, and not {others[0]!r}. Return what is needed of it."
            )
        [length] = lengths
        return rows.select([self.column]).take(pa.array(np.zeros(length, np.int64)))
