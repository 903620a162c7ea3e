"""An ingestor of a user's own: it has the protocol's few methods, and everything above works with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import pyarrow as pa
import pytest

from mlpools.data import DataConnector, DataIngestor, DataSource, MemorySource, ShardedDataConnector
from mlpools.data.sharding import RowRange
from mlpools.gang import Gang

ROWS = [100, 50, 25]


class Squares:
    """Computes its rows: 0 … 174 and their squares."""

    def __init__(self, sources: Sequence[DataSource]) -> None:
        self.data_sources = list(sources)
        self.schema = pa.schema({"x": pa.int64(), "square": pa.int64()})
        self.group_rows = ROWS

    @classmethod
    def from_sources(cls, sources: Sequence[DataSource], **kwargs: Any) -> Self:
        return cls(sources)

    def read(self, ranges: Sequence[RowRange] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        for part in [RowRange(i, 0, rows) for i, rows in enumerate(ROWS)] if ranges is None else ranges:
            first = sum(ROWS[: part.group])
            x = range(first + part.start, first + part.stop)
            table = pa.table(
                {"x": pa.array(x, pa.int64()), "square": pa.array([i * i for i in x], pa.int64())}
            )
            yield table.select(columns)


SOURCE = MemorySource(pa.table({"unused": [1]}))


def told_each_time(kind: type[DataConnector]) -> DataConnector:
    return kind.from_sources(SOURCE, ingestor_class=Squares)


def as_the_default(kind: type[DataConnector]) -> DataConnector:
    class Ours(kind):  # type: ignore[misc, valid-type]  # a class that is chosen when the test runs
        DEFAULT_INGESTOR_CLASS: type[DataIngestor] = Squares

    made: DataConnector = Ours.from_sources(SOURCE)
    return made


@pytest.mark.parametrize("make", [told_each_time, as_the_default])
def test_everything_above_it_works(make: Callable[[type[DataConnector]], DataConnector]) -> None:
    connector = make(DataConnector)
    assert connector.data_sources == [SOURCE]
    assert connector.num_rows == 175
    assert connector.to_pandas(limit=3)["square"].tolist() == [0, 1, 4]
    in_order = [row for batch in connector.to_batches(32) for row in batch.column("x").to_pylist()]
    assert in_order == list(range(175))
    shuffled = [batch.to_pydict() for batch in connector.to_batches(32, shuffle=True)]
    assert all(s == x * x for batch in shuffled for x, s in zip(*batch.values(), strict=True))
    assert sorted(x for batch in shuffled for x in batch["x"]) == in_order
    sharded = make(ShardedDataConnector)
    assert isinstance(sharded, ShardedDataConnector)
    shards = [sharded.get_shard(Gang(rank, 3)).to_arrow(columns=["x"])["x"].to_pylist() for rank in range(3)]
    assert sorted(itertools.chain(*shards)) == in_order


def test_an_epoch_of_it_goes_on_after_a_stop() -> None:
    connector = told_each_time(DataConnector)
    batches = connector.to_batches(32, shuffle=True)
    seen = [x for _ in range(2) for x in next(batches).column("x").to_pylist()]
    other = told_each_time(DataConnector)
    other.load_state_dict(connector.state_dict())
    left = [x for batch in other.to_batches(32, shuffle=True) for x in batch.column("x").to_pylist()]
    assert sorted(seen + left) == list(range(175))
