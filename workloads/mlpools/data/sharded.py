"""``ShardedDataConnector``: rows that are dealt out to the ranks of a gang."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from mlpools.data import grouping, sharding
from mlpools.data.buckets import hash_shuffle
from mlpools.data.connector import DataConnector
from mlpools.data.epochs import Share
from mlpools.errors import InvalidSpec
from mlpools.gang import Gang


@dataclasses.dataclass(frozen=True)
class Dealing:
    """How rows are dealt to ranks.

    Attributes:
        equal: every rank gets the same number of rows, and up to one less than there are ranks are left out,
            others in each epoch. False: every row goes to one rank. None is True for ``to_torch_dataset``
            and False for all else.
        seed: of the order, and of the rows left out.
        group_column: rows with equal values of this column are a group, which no rank, batch or shuffle
            parts; nulls are one group. It cannot be had together with ``equal``.
    """

    equal: bool | None = None
    seed: int = 0
    group_column: str = ""

    def __post_init__(self) -> None:
        if self.equal and self.group_column:
            raise InvalidSpec("equal=True and group_column contradict: groups cannot be cut to equal shards.")


class ShardedDataConnector(DataConnector):
    """A connector whose rows are dealt out to the ranks of a gang.

    Every ``from_…`` of ``DataConnector`` is here too, and takes ``equal``, ``seed`` and ``group_column``
    besides: see ``Dealing``.
    Every rank must make it from the same plan: unpickle it, or read the same unchanging files. The blocks of
    a Ray Dataset are the same only where it is unpickled, within one Ray cluster.
    """

    dealing = Dealing()

    def get_shard(
        self, gang: Gang | None = None, *, epoch: int = 0, columns: Sequence[str] | None = None
    ) -> DataConnector:
        """Return the rows of one rank: of the calling one by default.

        Where there are fewer rows than ranks, some shards are empty.

        Args:
            gang: rank and world size, by default what the environment says.
            epoch: the first one; with ``equal`` the rows left out change with it.
            columns: that will be read, if not all: groups that have to be brought together are laid down
                on the cache disk with these only.
        """
        gang = gang or Gang.from_environment()
        if self.dealing.group_column:
            return self._whole_groups(gang, self.dealing.group_column, columns)
        equal, seed = self.dealing.equal, self.dealing.seed
        ranges = sharding.shard(
            self._ingestor.group_rows, gang.rank, gang.world_size, equal=bool(equal), seed=seed, epoch=epoch
        )
        shard = DataConnector(self._ingestor, ranges, Share(gang.rank, gang.world_size, equal, seed))
        shard.set_epoch(epoch)
        return shard

    def _whole_groups(self, gang: Gang, column: str, columns: Sequence[str] | None) -> DataConnector:
        """Return the groups of one rank."""
        self._check_columns([column])
        names = list(dict.fromkeys([*self._check_columns(columns), column]))
        ranges = grouping.ranges_of(self._ingestor, column, gang.rank, gang.world_size)
        ingestor = self._ingestor
        if ranges is None:
            ingestor = hash_shuffle(ingestor, names, column, gang.rank, gang.world_size)
            ranges = sharding.everything(ingestor.group_rows)
        return DataConnector(ingestor, ranges, group_column=column)


def _dealt(name: str) -> Any:
    """Return a constructor of ``DataConnector`` that also takes how rows are dealt."""
    make = getattr(DataConnector, name).__func__

    @functools.wraps(make)
    def constructor(cls: type[ShardedDataConnector], *args: Any, **kwargs: Any) -> ShardedDataConnector:
        fields = {field.name for field in dataclasses.fields(Dealing)}
        dealing = Dealing(**{key: kwargs.pop(key) for key in fields & set(kwargs)})
        connector: ShardedDataConnector = make(cls, *args, **kwargs)
        connector.dealing = dealing
        return connector

    return classmethod(constructor)


for _name in [name for name in dir(DataConnector) if name.startswith("from_")]:
    setattr(ShardedDataConnector, _name, _dealt(_name))
