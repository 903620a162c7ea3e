"""Reads row ranges of a plan as Arrow tables, in order and with bounded memory."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlpools import budgets
from mlpools.data import filters, formats, schemas
from mlpools.data.ahead import read_ahead
from mlpools.data.cache.cached_file import open_cached
from mlpools.data.cache.decoded import DecodedCache
from mlpools.data.cache.files import FileCache
from mlpools.data.files import reading
from mlpools.data.formats import Announces, Format, UnitReader
from mlpools.data.formats.whole import Content
from mlpools.data.packs import PackReader
from mlpools.data.plan import Plan, PlannedFile, Unit
from mlpools.data.sharding import RowRange
from mlpools.storage import FileMissing

#: Stands for the end of a unit whose rows nobody has counted.
_END = 1 << 62
#: For rows that are decoded and not yet used: the container's share of memory, and no more than helps.
_MEMORY_SHARE = 8
_MOST_BYTES = 128 << 20
#: A unit's position and ascending ranges of it.
_Run = tuple[int, list[RowRange]]


def read(
    plan: Plan,
    ranges: Sequence[RowRange] | None,
    columns: Sequence[str],
    *,
    budget: int | None = None,
    cache: DecodedCache | None = None,
    files: FileCache | None = None,
) -> Iterator[pa.Table]:
    """Yield rows in order, in the plan's types; only the columns asked for are read.

    A thread decodes ahead of the consumer. Whole units are handed out, those above a quarter of the
    budget in pieces. With a cache, ranges may come back to a unit again and again.

    Args:
        plan: of the files.
        ranges: which rows; None for all of the plan.
        columns: which columns, in this order.
        budget: bytes for rows that are decoded and not yet used; by default from the container's memory.
        cache: holds decoded units, and is given those that it does not.
        files: holds what was fetched from remote places, and is given what it does not.

    Raises:
        DataNotReadable: a file is gone, was replaced, is damaged, or has a value that does not fit.
    """
    budget = budget or _budget()
    request = _request(plan, columns, budget // 4, files)
    limit = None
    if ranges is None:
        rows = (_END if unit.rows is None else unit.rows for _, unit in plan.units)
        ranges = [RowRange(group, 0, stop) for group, stop in enumerate(rows) if stop]
        limit = plan.limit
    runs = list(_runs(ranges))
    if cache is not None and len({group for group, _ in runs}) < len(runs):
        # Small ranges of what is mapped already: to hand them over would cost more than to make them.
        return _read_again(plan, runs, request, cache)
    tables = _read(plan, runs, request, cache)
    # A quarter each for what is in the making, in use, and waiting: if it is small, then no more than keeps
    # the decoder busy.
    return read_ahead(tables if limit is None else _first(tables, limit), budget // 8)


def count_rows(plan: Plan, file: PlannedFile, files: FileCache | None = None) -> Iterator[int]:
    """Yield the rows of each unit of a file that pass the plan's filter; a unit that is known is not read."""
    request = _request(plan, [], _budget() // 4, files)
    with closing(_FileReader(file, request, plan.version)) as reader:
        for unit in file.units:
            yield sum(table.num_rows for table in reader.rows(unit)) if unit.rows is None else unit.rows


def _budget() -> int:
    return min(_MOST_BYTES, budgets.memory() // _MEMORY_SHARE)


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
        files: see ``read``.
        identity: all of this that decides about rows, as JSON can say it.
    """

    wanted: pa.Schema
    needed: pa.Schema
    passes: pc.Expression | None
    piece_bytes: int
    kinds: dict[str, Format]
    contents: dict[str, Content]
    files: FileCache | None
    identity: list[Any]


def _request(plan: Plan, columns: Sequence[str], piece_bytes: int, files: FileCache | None) -> _Request:
    every = pa.schema([*plan.schema, *plan.hidden])
    wanted = pa.schema([every.field(name) for name in columns])
    predicate = filters.parse(plan.filter) if plan.filter else None
    further = sorted(predicate.columns - set(columns)) if predicate else []
    names = {file.format for file in plan.files}
    types = [(field.name, str(field.type)) for field in every]
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
        files=files,
        identity=[types, list(columns), plan.filter, piece_bytes, plan.options],
    )


def _read(
    plan: Plan, runs: Iterable[_Run], request: _Request, cache: DecodedCache | None
) -> Iterator[pa.Table]:
    for file, of_file in itertools.groupby(runs, key=lambda run: plan.units[run[0]][0]):
        with closing(_FileReader(file, request, plan.version)) as reader:
            for (group, run), following in _with_next(of_file):
                reader.following = plan.units[following[0]][1] if following else None
                yield from _slices(reader.rows(plan.units[group][1], cache), run)


def _read_again(
    plan: Plan, runs: Iterable[_Run], request: _Request, cache: DecodedCache
) -> Iterator[pa.Table]:
    """Yield ranges that come back to units; each unit is mapped once, if it could be kept."""
    mapped: dict[int, list[pa.Table]] = {}
    for group, run in runs:
        pieces = mapped.get(group)
        if pieces is not None:
            yield from _slices(pieces, run)
            continue
        file, unit = plan.units[group]
        with closing(_FileReader(file, request, plan.version)) as reader:
            pieces = _mapped(reader.rows(unit, cache), cache)
            if pieces is not None:
                mapped[group] = pieces
            yield from _slices(reader.rows(unit, cache) if pieces is None else pieces, run)


def _mapped(pieces: Iterator[pa.Table], cache: DecodedCache) -> list[pa.Table] | None:
    """Return all pieces, or None if the memory for them would not be that of files."""
    found = []
    for piece in pieces:
        if not cache.complete:
            return None
        found.append(piece)
    return found


def _with_next(runs: Iterable[_Run]) -> Iterator[tuple[_Run, _Run | None]]:
    known = list(runs)
    return zip(known, [*known[1:], None], strict=True)


def _runs(parts: Iterable[RowRange]) -> Iterator[_Run]:
    """Join ranges that follow on one another in one unit, so that it is decoded once for all of them."""
    run: list[RowRange] = []
    for part in parts:
        if run and (part.group != run[-1].group or part.start < run[-1].stop):
            yield run[0].group, run
            run = []
        run.append(part)
    if run:
        yield run[0].group, run


def _slices(tables: Iterable[pa.Table], parts: Sequence[RowRange]) -> Iterator[pa.Table]:
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


def _first(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
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
    """One file of a plan, opened when a unit of it has to be decoded.

    Attributes:
        following: the unit that will probably be read after the next one.
    """

    def __init__(self, file: PlannedFile, request: _Request, version: str) -> None:
        self._file = file
        self._request = request
        self._version = version
        self._stored = pa.schema([field for field in request.needed if field.name not in file.constants])
        self.following: Unit | None = None
        self._opened: tuple[UnitReader, str] | None = None

    def rows(self, unit: Unit, cache: DecodedCache | None = None) -> Iterator[pa.Table]:
        """Yield all rows of a unit that pass the filter, in pieces."""
        if cache is None:
            return self._decoded(unit)
        identity = [self._file.identity, unit.start, unit.stop, self._request.identity]
        return cache.pieces(identity, lambda: self._decoded(unit))

    def _decoded(self, unit: Unit) -> Iterator[pa.Table]:
        reader, called = self._open()
        with reading(self._file.url, f"{called} {unit.start}"):
            if isinstance(reader, Announces):
                reader.announce([unit, self.following] if self.following else [unit])
            for stored in reader.read(unit):
                table = self._complete(schemas.cast(stored, self._stored))
                if self._request.passes is not None:
                    table = table.filter(self._request.passes).select(self._request.wanted.names)
                yield table

    def _open(self) -> tuple[UnitReader, str]:
        """Return what reads the file's units, and what a unit is called."""
        if self._opened is None:
            with reading(self._file.url), _belonging(self._version):
                self._opened = self._reader()
        return self._opened

    def _reader(self) -> tuple[UnitReader, str]:
        file, piece_bytes = self._file, self._request.piece_bytes
        if file.members:
            content = self._request.contents[file.format]
            return PackReader(content, file.members, self._stored, piece_bytes, self._request.files), "file"
        kind = self._request.kinds[file.format]
        opened = open_cached(file.info, self._request.files)
        return kind.open(opened, file.url, self._stored, piece_bytes), kind.unit

    def _complete(self, table: pa.Table) -> pa.Table:
        """Add the columns that are not in the file, in their order."""
        for i, field in enumerate(self._request.needed):
            if field.name in self._file.constants:
                text, rows = self._file.constants[field.name], table.num_rows
                column = pa.nulls(rows, field.type) if text is None else _repeated(text, field.type, rows)
                table = table.add_column(i, field, column)
        return table

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            self._opened[0].close()


def _repeated(text: str, kind: pa.DataType, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text).cast(kind), rows)
