"""Predictions for a batch whose rows may be bad: halves of it are tried until single rows are to blame."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

import pyarrow as pa

from mlpools.errors import JobError, UserCodeError, one_line
from mlpools.inference.batches import BatchSize, is_out_of_memory, peak, reset_peak
from mlpools.inference.models.base import Model, Predictions
from mlpools.inference.settings import OnError
from mlpools.train.reporter import log

#: A shard with more bad rows than this has another problem than its rows.
MOST_BAD = 1000


class PoisonRow(Exception):  # noqa: N818 - a fact, with the row as its words
    """The model fails on a row.

    Attributes:
        row: its position in the batch.
        error: one sentence.
    """

    def __init__(self, row: int, error: str) -> None:
        super().__init__(error)
        self.row = row
        self.error = error


@dataclasses.dataclass(frozen=True)
class Scored:
    """A batch's predictions.

    Attributes:
        predictions: an array for each answer of the model; null at bad rows.
        bad: position and error of the rows that the model failed on.
    """

    predictions: Predictions
    bad: Mapping[int, str]


@dataclasses.dataclass
class Scorer:
    """Calls the model.

    Attributes:
        model: that is called.
        size: of batches; calls teach it.
        on_error: what a bad row does.
        alive: called after each call of the model.
    """

    model: Model
    size: BatchSize
    on_error: OnError
    alive: Callable[[], None]

    def score(self, rows: pa.Table) -> Scored:
        """Return predictions for some rows.

        Raises:
            PoisonRow: the model fails on a row, and a bad row fails its shard.
            UserCodeError: the model does not return one prediction a row.
        """
        before, started = reset_peak(), time.monotonic()
        try:
            found = self._call(rows)
        except Exception as error:
            if isinstance(error, JobError):
                raise
            return self._apart(rows, error)
        self.size.tell(rows.num_rows, time.monotonic() - started, peak() - before)
        return Scored(found, {})

    def _call(self, rows: pa.Table) -> Predictions:
        found = self.model.predict(rows)
        self.alive()
        for array in found.values():
            if len(array) != rows.num_rows:
                raise UserCodeError(
                    f"The model returned {len(array):,} predictions for {rows.num_rows:,} rows. It has to "
                    "return one for each row, in their order."
                )
        return found

    def _apart(self, rows: pa.Table, error: Exception) -> Scored:
        """Find the bad rows of a batch; the others are predicted in smaller calls."""
        if is_out_of_memory(error):
            self.size.shrink(rows.num_rows)
            log(f"Memory ran out with {rows.num_rows:,} rows. {self.size.said}")
        if rows.num_rows == 1:
            sentence = f"{type(error).__name__}: {one_line(error)}"
            if self.on_error == "FailShard":
                raise PoisonRow(0, sentence) from error
            return Scored({}, {0: sentence})
        half = rows.num_rows // 2
        first = self._half(rows.slice(0, half))
        try:
            second = self._half(rows.slice(half))
        except PoisonRow as poison:
            raise PoisonRow(poison.row + half, poison.error) from error
        bad = {**first.bad, **{row + half: words for row, words in second.bad.items()}}
        if len(bad) > MOST_BAD:
            row, words = min(bad.items())
            raise PoisonRow(row, f"more than {MOST_BAD:,} rows fail, the first with {words}") from error
        return Scored(_joined(first, half, second, rows.num_rows - half), bad)

    def _half(self, rows: pa.Table) -> Scored:
        try:
            return Scored(self._call(rows), {})
        except Exception as error:
            if isinstance(error, JobError):
                raise
            return self._apart(rows, error)


def _joined(first: Scored, rows: int, second: Scored, more: int) -> Predictions:
    """Return the predictions of two halves as one; null where a half has none of that name."""
    names = [*first.predictions, *(name for name in second.predictions if name not in first.predictions)]
    joined = {}
    for name in names:
        kind = (first.predictions if name in first.predictions else second.predictions)[name].type
        halves = [
            half.predictions[name].cast(kind) if name in half.predictions else pa.nulls(count, kind)
            for half, count in ((first, rows), (second, more))
        ]
        joined[name] = pa.concat_arrays(halves)
    return joined
