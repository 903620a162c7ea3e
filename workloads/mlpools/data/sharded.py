"""``ShardedDataConnector``: rows that are dealt out to the ranks of a gang."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from mlpools.data import sharding
from mlpools.data.connector import DataConnector
from mlpools.data.epochs import Share
from mlpools.gang import Gang


@dataclasses.dataclass(frozen=True)
class Dealing:
    """How rows are dealt to ranks.

    Attributes:
        equal: every rank gets the same number of rows, and up to one less than there are ranks are left out,
            others in each epoch. False: every row goes to one rank. None is True for ``to_torch_dataset``
            and False for all else.
        seed: of the order, and of the rows left out.
    """

    equal: bool | None = None
    seed: int = 0


class ShardedDataConnector(DataConnector):
    """A connector whose rows are dealt out to the ranks of a gang.

    Every ``from_…`` of ``DataConnector`` is here too, and takes ``equal`` and ``seed`` besides: see
    ``Dealing``.
    Every rank must make it from the same plan: unpickle it, or read the same unchanging files. The blocks of
    a Ray Dataset are the same only where it is unpickled, within one Ray cluster.
    """

    dealing = Dealing()

    def get_shard(self, gang: Gang | None = None, *, epoch: int = 0) -> DataConnector:
        """Return the rows of one rank: of the calling one by default.

        Where there are fewer rows than ranks, some shards are empty.

        Args:
            gang: rank and world size, by default what the environment says.
            epoch: the first one; with ``equal`` the rows left out change with it.
        """
        gang = gang or Gang.from_environment()
        equal, seed = self.dealing.equal, self.dealing.seed
        ranges = sharding.shard(
            self._ingestor.group_rows, gang.rank, gang.world_size, equal=bool(equal), seed=seed, epoch=epoch
        )
        shard = DataConnector(self._ingestor, ranges, Share(gang.rank, gang.world_size, equal, seed))
        shard.set_epoch(epoch)
        return shard


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
