"""Reads row ranges of a plan as Arrow tables, in order and with bounded memory."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data import filters, formats, schemas
from mlpools.data.ahead import read_ahead
from mlpools.data.files import open_planned, reading
from mlpools.data.formats import Format, UnitReader
from mlpools.data.formats.whole import Content
from mlpools.data.packs import PackReader
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
    request = _request(plan, columns, budget // 4)
    limit = None
    if ranges is None:
        rows = (_END if unit.rows is None else unit.rows for _, unit in plan.units)
        ranges = [RowRange(group, 0, stop) for group, stop in enumerate(rows) if stop]
        limit = plan.limit
    tables = _read(plan, ranges, request)
    return read_ahead(tables if limit is None else _first(tables, limit), budget)


def count_rows(plan: Plan, file: PlannedFile) -> Iterator[int]:
    """Yield the rows of each unit of a file that pass the plan's filter; a unit that is known is not read."""
    request = _request(plan, [], _BUDGET_BYTES // 4)
    with reading(file.url), _belonging(plan.version):
        opened = _FileReader(file, request)
    with closing(opened):
        for unit in file.units:
            yield sum(table.num_rows for table in opened.rows(unit)) if unit.rows is None else unit.rows


@dataclasses.dataclass(frozen=True)
class _Request:
    """What is wanted of every unit.

    Attributes:
        wanted: the columns to hand out.
        needed: these and the ones that the filter looks at.
        passes: the filter, if there is one.
        piece_bytes: bigger units are read in pieces of this size.
        kinds: of files, by name.
        contents: of packs' files, by name.
    """

    wanted: pa.Schema
    needed: pa.Schema
    passes: pc.Expression | None
    piece_bytes: int
    kinds: dict[str, Format]
    contents: dict[str, Content]


def _request(plan: Plan, columns: Sequence[str], piece_bytes: int) -> _Request:
    every = pa.schema([*plan.schema, *plan.hidden])
    wanted = pa.schema([every.field(name) for name in columns])
    predicate = filters.parse(plan.filter) if plan.filter else None
    further = sorted(predicate.columns - set(columns)) if predicate else []
    names = {file.format for file in plan.files}
    return _Request(
        wanted=wanted,
        needed=pa.schema([*wanted, *(every.field(name) for name in further)]),
        passes=predicate.expression(every) if predicate else None,
        piece_bytes=piece_bytes,
        kinds={
            name: formats.make(name, plan.options.get(name, {})) for name in names & formats.FORMATS.keys()
        },
        contents={
            name: formats.make_content(name, plan.options.get(name, {}))
            for name in names & formats.CONTENTS.keys()
        },
    )


def _read(plan: Plan, ranges: Sequence[RowRange], request: _Request) -> Iterator[pa.Table]:
    for file, parts in itertools.groupby(ranges, key=lambda part: plan.units[part.group][0]):
        with reading(file.url), _belonging(plan.version):
            opened = _FileReader(file, request)
        with closing(opened):
            for group, run in _runs(parts):
                yield from _slices(opened.rows(plan.units[group][1]), run)


def _runs(parts: Iterable[RowRange]) -> Iterator[tuple[int, list[RowRange]]]:
    """Join ranges that follow on one another in one unit, so that it is decoded once for all of them."""
    run: list[RowRange] = []
    for part in parts:
        if run and (part.group != run[-1].group or part.start < run[-1].stop):
            yield run[0].group, run
            run = []
        run.append(part)
    if run:
        yield run[0].group, run


def _slices(tables: Iterator[pa.Table], parts: Sequence[RowRange]) -> Iterator[pa.Table]:
    """Yield the rows of ascending ranges, and read no further than the end of the last one."""
    waiting = collections.deque(parts)
    start = 0
    for table in tables:
        stop = start + table.num_rows
        while waiting and waiting[0].start < stop:
            part = waiting[0]
            first = max(part.start, start)
            if first < min(part.stop, stop):
                yield table.slice(first - start, min(part.stop, stop) - first)
            if part.stop > stop:
                break
            waiting.popleft()
        start = stop
        if not waiting:
            return


def _first(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    return _slices(tables, [RowRange(0, 0, rows)])


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

    def __init__(self, file: PlannedFile, request: _Request) -> None:
        self._file = file
        self._request = request
        self._stored = pa.schema([field for field in request.needed if field.name not in file.constants])
        self._reader, self._unit = self._open()

    def _open(self) -> tuple[UnitReader, str]:
        """Return what reads the file's units, and what a unit is called."""
        file, piece_bytes = self._file, self._request.piece_bytes
        if file.members:
            content = self._request.contents[file.format]
            return PackReader(content, file.members, self._stored, piece_bytes), "file"
        kind = self._request.kinds[file.format]
        return kind.open(open_planned(file), file.url, self._stored, piece_bytes), kind.unit

    def rows(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield all rows of a unit that pass the filter, in pieces."""
        with reading(self._file.url, f"{self._unit} {unit.start}"):
            for stored in self._reader.read(unit):
                table = self._complete(schemas.cast(stored, self._stored))
                if self._request.passes is not None:
                    table = table.filter(self._request.passes).select(self._request.wanted.names)
                yield table

    def _complete(self, table: pa.Table) -> pa.Table:
        """Add the columns that are not in the file, in their order."""
        for i, field in enumerate(self._request.needed):
            if field.name in self._file.constants:
                value = pa.scalar(self._file.constants[field.name], pa.string()).cast(field.type)
                table = table.add_column(i, field, pa.repeat(value, table.num_rows))
        return table

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
