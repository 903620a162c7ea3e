"""Into how many buckets rows go, and which rows into which: pure functions, the same in every attempt."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlpools.data.hashing import hash64
from mlpools.data.plan import Plan
from mlpools.errors import InvalidSpec, at_hand
from mlpools.inference.shards import row_width

#: So many buckets leave little to do again; with fewer rows, what a bucket costs by itself shows.
_BUCKETS, _FEWEST_ROWS = 128, 1 << 12
#: Larger ones need not be brought together on disk less often.
_BYTES = 64 << 20
#: Each file of the first stage has a piece for each bucket.
_MOST = 1 << 12


def number(plan: Plan, column: str, shard_rows: int | None = None) -> int:
    """Return the number of buckets.

    Args:
        plan: of the rows, counted.
        column: that they are hashed by.
        shard_rows: about so many rows a bucket, as asked for; None: by the number and the size of the rows.

    Raises:
        InvalidSpec: there is no such column, or its values are not compared for being equal.
    """
    if column not in plan.schema.names:
        raise InvalidSpec(
            f"partitionBy names {column!r}, which the input has not. "
            f"{at_hand(column, plan.schema.names, 'Columns')}"
        )
    hash64(pa.array([], plan.schema.field(column).type), column)
    if shard_rows:
        return min(_MOST, math.ceil(plan.num_rows / shard_rows))
    by_rows = min(_BUCKETS, math.ceil(plan.num_rows / _FEWEST_ROWS))
    return min(_MOST, max(by_rows, math.ceil(plan.num_rows * row_width(plan) / _BYTES)))


def arrange(rows: pa.Table, column: str, buckets: int) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Return rows in the order of their buckets, and the number of rows in each; the order within is kept."""
    hashes = hash64(rows.column(column).combine_chunks(), column)
    return _arranged(rows, hashes % np.uint64(buckets), buckets)


def split(hashes: npt.NDArray[np.uint64], divisor: int, ways: int) -> npt.NDArray[np.uint64]:
    """Return which of some parts of a bucket each row goes to.

    Args:
        hashes: of the rows' keys.
        divisor: how many parts the rows were told apart into before, so that other digits count.
        ways: number of parts.
    """
    return hashes // np.uint64(divisor) % np.uint64(ways)


def _arranged(
    rows: pa.Table, bucket: npt.NDArray[np.uint64], buckets: int
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    order = np.argsort(bucket, kind="stable")
    counts = np.bincount(bucket.astype(np.int64), minlength=buckets)
    return rows.unify_dictionaries().combine_chunks().take(pa.array(order)), counts
