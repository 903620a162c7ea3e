"""Where a rank's binned rows lie: in memory, or in a file of pages that XGBoost goes over in each round.

Estimated from the number of rows before any is read, so that nobody waits for hours to be killed for memory.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from mlpools.train.trees.memory import WORKER_BYTES, too_large

Mode = Literal["auto", "never", "always"]

#: Rows of a page, if row groups do not make larger ones.
PAGE_ROWS = 1 << 18

# Seen with 28 columns and 256 bins: 2 bytes a value where none is missing, 5.4 where some are, also on disk.
_VALUE_BYTES = 6
#: Label, weight, group and margin of a row, and of each output its prediction, gradient and hessian.
_ROW_BYTES = 24
_OUTPUT_BYTES = 24
#: Pages that are read ahead.
_PAGES = 4
#: Of the memory; the rest is for decoded rows on their way, and for what no estimate sees.
_SHARE = 0.7


@dataclasses.dataclass(frozen=True)
class Size:
    """The rows of one rank.

    Attributes:
        rows: of all sets.
        features: columns to learn from.
        outputs: numbers that are predicted for each row.
    """

    rows: int
    features: int
    outputs: int = 1

    @property
    def binned(self) -> int:
        """Bytes of all values."""
        return self.rows * self.features * _VALUE_BYTES

    @property
    def in_memory(self) -> int:
        """Bytes of a worker with everything in memory."""
        return WORKER_BYTES + self.binned + self._beside

    @property
    def external(self) -> int:
        """Bytes of a worker whose values lie in a file."""
        pages = _PAGES * min(self.rows, PAGE_ROWS) * self.features * _VALUE_BYTES
        return WORKER_BYTES + min(pages, self.binned) + self._beside

    @property
    def _beside(self) -> int:
        return self.rows * (_ROW_BYTES + _OUTPUT_BYTES * self.outputs)


def is_external(mode: Mode, size: Size, *, memory: int, disk: int, nodes: int) -> bool:
    """Decide whether the values lie in a file.

    Args:
        mode: what the user wants.
        size: of the largest rank.
        memory: bytes that a worker may use.
        disk: bytes that its file may have.
        nodes: of the job, for what to do.

    Raises:
        OutOfMemory: the rows do not fit either way.
    """
    if mode == "never" or (mode == "auto" and size.in_memory <= memory * _SHARE):
        if size.in_memory > memory:
            raise too_large(size.rows, size.features, size.in_memory, memory, nodes, "memory")
        return False
    if size.external > memory:
        raise too_large(size.rows, size.features, size.external, memory, nodes, "memory")
    if size.binned > disk:
        raise too_large(size.rows, size.features, size.binned, disk, nodes, "local disk")
    return True
