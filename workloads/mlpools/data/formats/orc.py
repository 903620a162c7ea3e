"""ORC: a unit is a stripe."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa
import pyarrow.orc as pa_orc

from mlpools import budgets
from mlpools.data.formats import Bounds, Inspection
from mlpools.data.formats.magic import is_no
from mlpools.data.formats.orc_tail import Tail, read_tail
from mlpools.data.plan import Unit
from mlpools.data.sizes import row_bytes

_MAGIC = b"ORC"
#: Of the memory at hand for a stripe, which is decoded as a whole: another one waits or is in use.
_SHARE = 3


@dataclasses.dataclass(frozen=True)
class Orc:
    """ORC files have no options."""

    suffixes: ClassVar[tuple[str, ...]] = (".orc",)
    unit: ClassVar[str] = "stripe"
    guesses_types: ClassVar[bool] = False
    sparse: ClassVar[bool] = False

    def inspect(self, file: pa.NativeFile, name: str) -> Inspection:
        """Read the file's tail, which lists the stripes with rows and statistics."""
        head = file.read_at(min(8, file.size()), 0)
        if not head.startswith(_MAGIC):
            raise ValueError(is_no("ORC", head))
        reader = pa_orc.ORCFile(file)
        raw, tail = read_tail(file)
        rows = [None] * reader.nstripes if tail is None else tail.stripe_rows

        def bounds(unit: int, column: str) -> Bounds | None:
            return tail.bounds(unit, column) if isinstance(tail, Tail) else None

        return Inspection(
            schema=reader.schema,
            units=tuple(Unit(i, i + 1, count) for i, count in enumerate(rows)),
            digest=hashlib.sha256(raw).hexdigest(),
            bounds=bounds,
        )

    def open(self, file: pa.NativeFile, name: str, schema: pa.Schema, piece_bytes: int) -> _Stripes:
        """Open a file for its stripes."""
        return _Stripes(file, schema)


class _Stripes:
    def __init__(self, file: pa.NativeFile, schema: pa.Schema) -> None:
        self._file = file
        self._reader = pa_orc.ORCFile(file)
        self._names = schema.names

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield a stripe.

        Raises:
            ValueError: it is larger than memory allows.
        """
        # Without any column chosen the number of rows would be lost.
        columns = self._names or self._reader.schema.names[:1]
        self._check_size(unit, columns)
        batch = self._reader.read_stripe(unit.start, columns=columns)
        yield pa.Table.from_batches([batch]).select(self._names)

    def _check_size(self, unit: Unit, columns: list[str]) -> None:
        """Refuse what the kernel would end the process for, without a word about the file."""
        needed = (unit.rows or 0) * row_bytes(self._reader.schema, columns)
        allowed = budgets.memory() / _SHARE
        if needed > allowed:
            raise ValueError(
                f"takes some {needed / 2**20:,.0f} MiB, and a stripe can only be read as a whole, within a "
                f"third of the memory ({allowed / 2**20:,.0f} MiB). Give more memory, read fewer columns, or "
                "write smaller stripes (64 MB are usual)"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
