"""How much memory rows take once they are decoded, guessed from their types."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

#: Guess for a value of variable length.
_TEXT_BYTES = 32


def row_bytes(schema: pa.Schema, columns: Sequence[str]) -> float:
    """Return about how many bytes the columns of one row take."""
    return sum(_width(schema.field(name).type) for name in columns)


def _width(kind: pa.DataType) -> float:
    if pa.types.is_dictionary(kind):
        kind = kind.index_type
    try:
        return float(kind.bit_width) / 8
    except ValueError:
        return _TEXT_BYTES
