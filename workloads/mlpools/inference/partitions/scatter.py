"""The first stage of a worker: shards of the input become files of buckets."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

from mlpools.data import reader
from mlpools.data.plan import Plan
from mlpools.errors import DataNotReadable, JobError, OutputExists, OutputNotWritable, PeerLost
from mlpools.inference.asking import Dispensary
from mlpools.inference.partitions.shuffle import Shuffle, ShuffleFile
from mlpools.inference.shards import Shard


@dataclasses.dataclass(frozen=True)
class Scatter:
    """Takes shards until there are no more.

    Attributes:
        plan: of the input.
        shards: all of them, in order.
        columns: that the second stage needs.
        column: that rows are hashed by, one of them.
        buckets: their number.
        shuffle: where files go.
        dispensary: hands out shards.
        maker: attempt and worker.
        budget: bytes for rows that wait.
        alive: called when something got further.
    """

    plan: Plan
    shards: Sequence[Shard]
    columns: Sequence[str]
    column: str
    buckets: int
    shuffle: Shuffle
    dispensary: Dispensary
    maker: str
    budget: int
    alive: Callable[[], None]

    def run(self) -> None:
        """Work.

        Raises:
            JobError: nothing can go on; a shard that fails is told to the dispenser instead.
        """
        for grant in self.dispensary.grants(self.alive, threading.Event()):
            shard = self.shards[grant.shard]
            try:
                name, rows = self._made(shard)
            except (DataNotReadable, OutputNotWritable) as error:
                self.dispensary.unread(shard.number, error)
            except OutputExists as error:
                raise PeerLost(f"Another attempt took this one's place: {error}") from error
            else:
                self.dispensary.committed(shard.number, {"name": name, "rows": rows})

    def _made(self, shard: Shard) -> tuple[str, list[int]]:
        """Return the name of a shard's file, and its rows in each bucket."""
        path = self.shuffle.scratch(shard.number, self.maker)
        file = ShuffleFile(path, self.column, self.buckets, budget=self.budget)
        try:
            for rows in reader.read(self.plan, shard.ranges, self.columns, budget=self.budget):
                file.add(rows)
                self.alive()
            file.finish()
        except BaseException:
            file.abandon()
            raise
        if int(file.rows.sum()) != shard.rows:
            raise JobError(
                f"Shard {shard.number} has {shard.rows:,} rows, but {int(file.rows.sum()):,} were read. "
                "Please report it."
            )
        return self.shuffle.publish(path, shard.number, self.maker), file.rows.tolist()
