"""Rank 0's way through both stages: which shards there are in each, and what is there of them already."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mlpools.errors import DataNotReadable
from mlpools.inference.asking import Opening
from mlpools.inference.finish import Tally
from mlpools.inference.ledger import Ledger
from mlpools.inference.partitions.place import BucketPlace
from mlpools.inference.partitions.shuffle import Shuffle
from mlpools.inference.parts import Committed
from mlpools.inference.shards import Shard

SCATTER, CALL = 0, 1


@dataclasses.dataclass
class Stages:
    """An attempt's stages.

    Attributes:
        place: of the output.
        shards: of the input, in order.
        buckets: their number.
        allowed: buckets that may fail.
        ledger: of the stage that is at work.
        stage: which one that is.
    """

    place: BucketPlace
    shards: Sequence[Shard]
    buckets: int
    allowed: int

    def __post_init__(self) -> None:
        self._done = self.place.committed(dict.fromkeys(range(self.buckets), 0))
        self._files: list[str] = []
        self.stage = SCATTER
        self.ledger = self._begin()

    @property
    def opening(self) -> Opening:
        """What workers have to know of the stage that is at work."""
        return Opening(self.place.once, self.stage, self._files)

    @property
    def more(self) -> bool:
        """Whether another stage follows."""
        return self.stage == SCATTER

    @property
    def shuffle(self) -> Shuffle:
        """What the first stage leaves."""
        return Shuffle(self.place.target)

    def go_on(self) -> bool:
        """Begin the second stage if the first is complete, and return whether that was so.

        A shard that could not be read ends the run, since every key could have rows in it.
        """
        if not self.more or len(self.ledger.done) < len(self.shards):
            return False
        found = [self.ledger.done[shard] for shard in sorted(self.ledger.done)]
        self._files = [one["name"] for one in found]
        counts = np.array([one["rows"] for one in found], np.int64).sum(axis=0)
        self._call(dict(zip(range(self.buckets), counts.tolist(), strict=True)))
        return True

    def progress(self) -> tuple[dict[str, int], dict[str, int], int]:
        """Return shards and rows as a ``Report`` has them, and how often rows were handled, twice each."""
        total = sum(shard.rows for shard in self.shards)
        if self.more:
            done, failed = len(self.ledger.done), len(self.ledger.failed)
            read = sum(self.ledger.rows[shard] for shard in self.ledger.done)
            shards = {"total": len(self.shards) + self.buckets, "done": done, "failed": failed}
            return shards, {"total": total, "done": 0, "failed": 0}, read
        shards, rows = self.tally().counts()
        return shards, rows, total + rows["done"] + rows["failed"]

    def tally(self) -> Tally:
        """Return what became of all shards, at the second stage."""
        return Tally.of(self.ledger, before=len(self.shards))

    def _begin(self) -> Ledger:
        """Return the first stage's ledger, or the second's if all buckets are there."""
        rows = {shard.number: shard.rows for shard in self.shards}
        read = {bucket: made.read for bucket, made in self._done.items()}
        if sum(read.values()) == sum(rows.values()):
            return self._call({bucket: read.get(bucket, 0) for bucket in range(self.buckets)})
        there = {}
        for shard, name in self.shuffle.committed(rows).items():
            try:
                counts = self.shuffle.open(name).rows(self.buckets)
            except DataNotReadable:
                continue  # it is made anew
            if sum(counts) == rows[shard]:
                there[shard] = {"name": name, "rows": counts}
        return Ledger(rows, there)

    def _call(self, rows: dict[int, int]) -> Ledger:
        """Go to the second stage, and return its ledger."""
        self.stage = CALL
        empty = {bucket: Committed((), 0) for bucket, count in rows.items() if not count}
        done = {bucket: made.to_dict() for bucket, made in {**empty, **self._done}.items()}
        self.ledger = Ledger(rows, done, allowed=self.allowed)
        return self.ledger
