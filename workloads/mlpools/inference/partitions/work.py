"""A worker's way through both stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mlpools.data import scratch
from mlpools.data.plan import Plan
from mlpools.inference.asking import Dispensary
from mlpools.inference.partitions.calls import Caller
from mlpools.inference.partitions.engine import BucketEngine
from mlpools.inference.partitions.gather import Limits
from mlpools.inference.partitions.place import BucketPlace
from mlpools.inference.partitions.scatter import Scatter
from mlpools.inference.partitions.shuffle import Shuffle, Shuffled
from mlpools.inference.partitions.stages import CALL, SCATTER
from mlpools.inference.settings import Format
from mlpools.inference.shards import Shard
from mlpools.storage import Location

#: Of a worker's memory: rows of a key before they are a call's arguments, and rows that are brought together,
#: of which there are as many again while they are, and the next ones meanwhile.
_KEY_SHARE, _LOAD_SHARE = 1 / 8, 1 / 16
_MOST_LOAD_BYTES = 128 << 20
_FOLDER = "partitions"
_FILES_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class Work:
    """What both stages are about.

    Attributes:
        plan: of the input.
        shards: all of them, in order.
        buckets: their number.
        caller: calls the model.
        maker: attempt and worker.
        memory: bytes that this worker may use.
        max_rows: of a file; None for no bound.
    """

    plan: Plan
    shards: Sequence[Shard]
    buckets: int
    caller: Caller
    maker: str
    memory: int
    max_rows: int | None

    def run(self, target: Location, form: Format, dispensary: Dispensary) -> None:
        """Take shards of each stage until there are no more.

        Args:
            target: the output's folder.
            form: of its files.
            dispensary: hands out shards.

        Raises:
            JobError: nothing can go on.
        """
        stage = -1
        while stage < CALL:
            opening = dispensary.wait_opened(self.caller.alive, after=stage)
            if opening is None:
                return
            stage = opening.stage
            here = dataclasses.replace(dispensary, stage=stage)
            if stage == SCATTER:
                self._scatter(target, here)
            else:
                self._call(BucketPlace(target, form, opening.once, self.max_rows), opening.files, here)

    def _scatter(self, target: Location, dispensary: Dispensary) -> None:
        caller = self.caller
        columns = dict.fromkeys([*caller.form.read(caller.model), caller.column])
        Scatter(
            self.plan,
            self.shards,
            list(columns),
            caller.column,
            self.buckets,
            Shuffle(target),
            dispensary,
            self.maker,
            self._load,
            caller.alive,
        ).run()

    def _call(self, place: BucketPlace, names: Sequence[str], dispensary: Dispensary) -> None:
        shuffle = Shuffle(place.target)
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            files: list[Shuffled] = list(pool.map(shuffle.open, names))
        self.caller.alive()
        limits = Limits(self._load, int(self.memory * _KEY_SHARE), scratch.of_process(_FOLDER))
        BucketEngine(files, self.buckets, self.caller, place, dispensary, self.maker, limits).run()

    @property
    def _load(self) -> int:
        return min(_MOST_LOAD_BYTES, int(self.memory * _LOAD_SHARE))
