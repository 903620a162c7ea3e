"""How much memory rows take once they are decoded, guessed from their types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from mlpools.data.ingestor import DataIngestor

#: Guess for a value of variable length, and how much larger than on disk such a column is in memory.
_TEXT_BYTES = 32
_UNPACKED = 2


def row_bytes(schema: pa.Schema, columns: Sequence[str]) -> float:
    """Return about how many bytes the columns of one row take, by their types alone."""
    fixed, texts = _widths(schema, columns)
    return fixed + _TEXT_BYTES * texts


def stored_row_bytes(ingestor: DataIngestor, columns: Sequence[str]) -> float:
    """Return the same, at least 1; where texts are among them, by the size of the files, too."""
    fixed, texts = _widths(ingestor.schema, columns)
    guess = fixed + _TEXT_BYTES * texts
    plan = getattr(ingestor, "plan", None)
    if not texts or plan is None:
        return max(1.0, guess)
    on_disk = sum(file.size for file in plan.files) / max(1, sum(ingestor.group_rows))
    return float(max(guess, fixed + _UNPACKED * on_disk))


def _widths(schema: pa.Schema, columns: Sequence[str]) -> tuple[float, int]:
    """Return the bytes of all values of fixed length in a row, and how many others there are."""
    widths = [_width(schema.field(name).type) for name in columns]
    return sum((width for width in widths if width is not None), 0.0), widths.count(None)


def _width(kind: pa.DataType) -> float | None:
    if pa.types.is_dictionary(kind):
        kind = kind.index_type
    try:
        return float(kind.bit_width) / 8
    except ValueError:
        return None
