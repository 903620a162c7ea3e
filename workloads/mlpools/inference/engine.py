"""One worker's work: read, predict, encode, all three at once, shard after shard.

Between the three threads of ``turns`` wait a few batches, so memory does not depend on the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from mlpools.data import reader
from mlpools.data.plan import Plan
from mlpools.inference.asking import Dispensary
from mlpools.inference.batches import Rebatcher
from mlpools.inference.ledger import Failure
from mlpools.inference.parts import BadRow, Place
from mlpools.inference.rows import Form
from mlpools.inference.scoring import MOST_BAD, PoisonRow, Scorer
from mlpools.inference.shards import Shard, place_of
from mlpools.inference.turns import Turns
from mlpools.inference.writing import PartWriter


class Engine(Turns[Shard, pa.Table]):
    """Takes shards until there are no more.

    Attributes:
        scorer: calls the model.
    """

    def __init__(
        self,
        plan: Plan,
        shards: list[Shard],
        form: Form,
        scorer: Scorer,
        place: Place,
        dispensary: Dispensary,
        maker: str,
        *,
        budget: int,
    ) -> None:
        """Prepare.

        Args:
            plan: of the input.
            shards: all of them, in order.
            form: of the output's rows.
            scorer: calls the model.
            place: of the output.
            dispensary: hands out shards.
            maker: attempt and worker, see ``Place.name``.
            budget: bytes for rows that are decoded and wait.
        """
        writer = PartWriter(place, dispensary, maker)
        super().__init__(form, place, dispensary, writer, scorer.alive, budget=budget)
        self._plan = plan
        self._shards = shards
        self.scorer = scorer
        self._columns = form.read(scorer.model)
        self._rebatcher = Rebatcher()

    def _shard(self, number: int) -> Shard:
        return self._shards[number]

    def _read(self, shard: Shard) -> Iterable[pa.Table]:
        return reader.read(self._plan, shard.ranges, self._columns, budget=self._budget)

    def _add(self, shard: Shard, rows: pa.Table) -> None:
        for batch in self._rebatcher.add(rows, self.scorer.size):
            self._predict(shard, batch)

    def _rest(self, shard: Shard) -> None:
        for batch in self._rebatcher.rest(self.scorer.size):
            self._predict(shard, batch)

    def _forget(self) -> None:
        self._rebatcher.drop()

    def _blame(self, shard: Shard, poison: PoisonRow) -> Failure:
        file, row = place_of(self._plan, shard, self._done + poison.row)
        message = f"The model fails on row {row:,} of {file}: {poison.error}."
        return Failure(shard.number, message, file, row)

    def _predict(self, shard: Shard, batch: pa.Table) -> None:
        scored = self.scorer.score(batch)
        rows = self._form.rows(batch, scored)
        self._emit([rows], rows.schema if scored.predictions else None)
        for row, error in scored.bad.items():
            self._note_bad(BadRow(*place_of(self._plan, shard, self._done + row), error))
        if self._bad_count > MOST_BAD:
            row, error = next(iter(scored.bad.items()))
            raise PoisonRow(row, f"more than {MOST_BAD:,} rows of the shard fail, this one with {error}")
        self._done += batch.num_rows
