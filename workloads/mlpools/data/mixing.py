"""How well rows can be mixed with the memory and the cache at hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mlpools import budgets
from mlpools.data.arguments import check_batch_size
from mlpools.data.ingestor import DataIngestor
from mlpools.data.order import RankOrder, Reading
from mlpools.data.sizes import stored_row_bytes

#: Rows that are permuted together take no more than this, and no more than an eighth of what there is.
_WINDOW_BYTES = 64 << 20
_WINDOW_SHARE = 8
#: A page of four-byte values: the smallest piece that a disk reads at once.
SLICE_ROWS = 1024
#: With fewer in a window, whose of them it got shows in its batches. With so many, chance is what shows.
_SLICES = 256


@dataclasses.dataclass(frozen=True)
class Mixing:
    """What a shuffle may use.

    Attributes:
        window_rows: that may be in memory at once, in all workers of a rank together.
        slice_rows: of the pieces that are spread over windows, at most; 0 for whole row groups.
    """

    window_rows: int = 0
    slice_rows: int = 0

    @classmethod
    def choose(
        cls, ingestor: DataIngestor, columns: Sequence[str], rows: int, rows_each: float = 1.0
    ) -> Mixing:
        """Choose for the rows of one rank.

        Args:
            ingestor: reads them.
            columns: that are read.
            rows: their number.
            rows_each: of them, where what is ordered are groups and not rows.
        """
        memory = min(_WINDOW_BYTES, budgets.memory() // _WINDOW_SHARE)
        window = max(1, int(memory / (stored_row_bytes(ingestor, columns) * rows_each)))
        cheap = getattr(ingestor, "random_access", None)
        slices = rows > window and cheap is not None and cheap(int(rows * rows_each), columns)
        return cls(window, SLICE_ROWS if slices else 0)

    def reading(
        self, batch_size: int, *, shuffle: bool, drop_last: bool = False, num_workers: int = 1
    ) -> Reading:
        """Return how each worker reads.

        Raises:
            InvalidSpec: the batch size is no number of rows.
        """
        check_batch_size(batch_size)
        if not shuffle:
            return Reading(batch_size, False, num_workers, drop_last)
        window = max(1, self.window_rows // num_workers)
        slices = self.slice_rows and max(1, min(self.slice_rows, window // _SLICES))
        return Reading(batch_size, True, num_workers, drop_last, window, slices)


def quality(order: RankOrder) -> str:
    """Say how good a shuffle in windows of whole row groups is; empty where it is as good as any."""
    reading = order.reading
    imbalance = order.imbalance() if reading.shuffle and not reading.slice_rows else 0.0
    chance = 0.5 / reading.batch_size**0.5
    if imbalance <= chance:
        return ""
    return (
        f"Row groups are shuffled whole, in windows of {reading.window_rows:,} rows. On data sorted by label "
        f"a batch may have {imbalance:.1%} of its rows too many of one; by chance it is {chance:.1%}. "
        "A cache folder with room for the decoded rows (MLPOOLS_CACHE), or smaller row groups, mixes better."
    )
