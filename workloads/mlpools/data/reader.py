"""Reads row ranges of a plan as Arrow tables, in order and with bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import pyarrow as pa

from mlpools.data import formats, schemas
from mlpools.data.ahead import read_ahead
from mlpools.data.files import open_planned, reading
from mlpools.data.formats import Format
from mlpools.data.plan import Plan, PlannedFile, Unit
from mlpools.data.sharding import RowRange
from mlpools.storage import FileMissing

#: Stands for the end of a unit whose rows nobody has counted.
_END = 1 << 62
#: For rows that are decoded and not yet used.
_BUDGET_BYTES = 256 << 20


def read(
    plan: Plan, ranges: Sequence[RowRange] | None, columns: Sequence[str], *, budget: int = _BUDGET_BYTES
) -> Iterator[pa.Table]:
    """Yield rows in order, in the plan's types; only the columns asked for are read.

    A thread decodes ahead of the consumer. Whole units are handed out, those above a quarter of the
    budget in pieces.

    Args:
        plan: of the files.
        ranges: which rows; None for all of the plan.
        columns: which columns, in this order.
        budget: bytes for rows that are decoded and not yet used.

    Raises:
        DataNotReadable: a file is gone, was replaced, is damaged, or has a value that does not fit.
    """
    names = {file.format for file in plan.files}
    kinds = {name: formats.make(name, plan.options.get(name, {})) for name in names}
    wanted = pa.schema([plan.schema.field(name) for name in columns])
    if ranges is None:
        ranges = [RowRange(group, 0, _END) for group in range(len(plan.units))]
    return read_ahead(_read(plan, ranges, wanted, kinds, budget // 4), budget)


def _read(
    plan: Plan,
    ranges: Sequence[RowRange],
    wanted: pa.Schema,
    kinds: Mapping[str, Format],
    piece_bytes: int,
) -> Iterator[pa.Table]:
    for file, parts in itertools.groupby(ranges, key=lambda part: plan.units[part.group][0]):
        with reading(file.url), _belonging(plan.version):
            reader = _FileReader(file, kinds[file.format], wanted, piece_bytes)
        with closing(reader):
            for part in parts:
                yield from reader.read(plan.units[part.group][1], part)


@contextmanager
def _belonging(version: str) -> Iterator[None]:
    """Say of a missing file what it was a file of."""
    try:
        yield
    except FileMissing as error:
        if not version:
            raise
        raise FileMissing(
            f"{error} It was a file of {version}: was that deleted while it was read?"
        ) from error


class _FileReader:
    """One open file of a plan."""

    def __init__(self, file: PlannedFile, kind: Format, wanted: pa.Schema, piece_bytes: int) -> None:
        self._file = file
        self._kind = kind
        self._wanted = wanted
        self._stored = pa.schema([field for field in wanted if field.name not in file.constants])
        self._reader = kind.open(open_planned(file), file.url, self._stored, piece_bytes)

    def read(self, unit: Unit, part: RowRange) -> Iterator[pa.Table]:
        """Yield the rows of one range."""
        position = 0
        with reading(self._file.url, f"{self._kind.unit} {unit.start}"):
            for table in self._reader.read(unit):
                start = max(part.start, position) - position
                stop = min(part.stop, position + table.num_rows) - position
                position += table.num_rows
                if start < stop:
                    yield self._complete(table.slice(start, stop - start))
                if position >= part.stop:
                    return

    def _complete(self, table: pa.Table) -> pa.Table:
        """Add the columns that are not in the file, in the plan's types and order."""
        table = schemas.cast(table, self._stored)
        for i, field in enumerate(self._wanted):
            if field.name in self._file.constants:
                value = pa.scalar(self._file.constants[field.name], pa.string()).cast(field.type)
                table = table.add_column(i, field, pa.repeat(value, table.num_rows))
        return table

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
