"""The second stage of a worker: bucket after bucket, key after key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from mlpools.inference.asking import Dispensary
from mlpools.inference.ledger import Failure
from mlpools.inference.partitions.calls import Answer, Caller
from mlpools.inference.partitions.gather import Groups, Limits, PoisonKey, gather
from mlpools.inference.partitions.place import BucketPlace
from mlpools.inference.partitions.shuffle import Shuffled
from mlpools.inference.partitions.writing import BucketWriter
from mlpools.inference.parts import BadRow
from mlpools.inference.scoring import MOST_BAD, PoisonRow
from mlpools.inference.turns import Turns

#: Answers are handed on when they are so many rows, or of so many keys.
_ROWS, _KEYS = 1 << 16, 1 << 12


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A shard of the second stage.

    Attributes:
        number: its place in the order, from 0.
        rows: their number.
    """

    number: int
    rows: int


class BucketEngine(Turns[Bucket, Groups]):
    """Takes buckets until there are no more."""

    def __init__(
        self,
        files: Sequence[Shuffled],
        buckets: int,
        caller: Caller,
        place: BucketPlace,
        dispensary: Dispensary,
        maker: str,
        limits: Limits,
    ) -> None:
        """Prepare.

        Args:
            files: of the first stage, all of them.
            buckets: their number.
            caller: calls the model.
            place: of the output.
            dispensary: hands out buckets.
            maker: attempt and worker.
            limits: of memory and disk.
        """
        writer = BucketWriter(place, dispensary, maker)
        super().__init__(caller.form, place, dispensary, writer, caller.alive, budget=limits.load)
        self._files = files
        self._rows = [sum(counts) for counts in zip(*(file.rows(buckets) for file in files), strict=True)]
        self._caller = caller
        self._limits = limits
        self._answers: list[Answer] = []
        self._answered = self._bad_keys = 0

    def _shard(self, number: int) -> Bucket:
        return Bucket(number, self._rows[number])

    def _read(self, shard: Bucket) -> Iterable[Groups]:
        tables = (table for file in self._files for table in file.read(shard.number))
        return gather(tables, self._caller.column, len(self._rows), self._limits)

    def _add(self, shard: Bucket, rows: Groups) -> None:
        for of_key in rows:
            answer = self._caller.call(of_key)
            self._done += of_key.num_rows
            if answer.error:
                self._note_bad_key(answer, of_key.num_rows)
            if answer.rows.num_rows:  # no rows have no types either
                self._answers.append(answer)
                self._answered += answer.rows.num_rows
            if self._answered >= _ROWS or len(self._answers) >= _KEYS:
                self._hand_on()

    def _note_bad_key(self, answer: Answer, rows: int) -> None:
        self._note_bad(BadRow("", -1, answer.error, answer.key), rows)
        self._bad_keys += 1
        if self._bad_keys > MOST_BAD:
            raise PoisonKey(
                answer.key, f"more than {MOST_BAD:,} keys of the shard fail, this one with {answer.error}"
            )

    def _begin(self, shard: Bucket) -> None:
        super()._begin(shard)
        self._bad_keys = 0

    def _rest(self, shard: Bucket) -> None:
        self._hand_on()

    def _forget(self) -> None:
        self._answers, self._answered = [], 0

    def _blame(self, shard: Bucket, poison: PoisonRow) -> Failure:
        assert isinstance(poison, PoisonKey)
        message = f"The model cannot be called for {self._caller.column} = {poison.key}: {poison}."
        return Failure(shard.number, message, key=poison.key)

    def _hand_on(self) -> None:
        """Write the answers that wait."""
        predicted = next((answer.rows.schema for answer in self._answers if not answer.error), None)
        self._emit([answer.rows for answer in self._answers], predicted)
        self._forget()
