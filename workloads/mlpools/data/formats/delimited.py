"""CSV: a unit is a part of the file at line borders, or a whole file that is compressed."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa
import pyarrow.csv as pa_csv

from mlpools.data.formats import Inspection, lines
from mlpools.data.plan import Unit
from mlpools.errors import at_hand

_BOM = b"\xef\xbb\xbf"
_ASCII_LIKE = {"utf8", "utf-8", "ascii", "latin1", "latin-1", "iso-8859-1", "iso-8859-15", "cp1252"}
_BAD_VALUE = re.compile(r"In CSV column #(\d+): .*CSV conversion error to (.+?): invalid value '(.*)'")
_TYPE_REMEDY = "Say its type under options.types, or what stands for no value under options.nullValues"
_SHAPE_REMEDY = "Check options.delimiter, options.quote and options.header, or mend the file"


@dataclasses.dataclass(frozen=True)
class Csv:
    """Options of CSV files.

    Attributes:
        delimiter: between two cells.
        quote: round a cell that holds a delimiter; empty if there is none.
        escape: before a quote within a quoted cell, which is doubled otherwise.
        header: whether the first line has the names of the columns.
        column_names: of files without a header, or instead of theirs.
        skip_lines: so many lines before the header or the first row are no data.
        null_values: what stands for no value, in columns of text too; by default an empty cell, ``NA``,
            ``NULL``, ``NaN`` and the like, except in columns of text, which have no nulls then.
        types: of columns by name: ``int64``, ``float32``, ``string``, ``date32``, ``timestamp[us]`` …; the
            others are guessed from the first MiB of each file.
        timestamp_formats: how timestamps are written, as for strptime, besides ISO 8601.
        decimal_point: of numbers.
        encoding: of the text.
        newlines_in_values: True if a quoted cell may hold a line break: each file is one unit then. False
            promises that none does. Without either, files are cut and a quoted cell across a cut is an
            error.
        unit_bytes: size of the parts that a file is cut into.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    column_names: tuple[str, ...] = ()
    skip_lines: int = 0
    null_values: tuple[str, ...] | None = None
    types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    timestamp_formats: tuple[str, ...] = ()
    decimal_point: str = "."
    encoding: str = "utf8"
    newlines_in_values: bool | None = None
    unit_bytes: int = 16 << 20

    suffixes: ClassVar[tuple[str, ...]] = lines.with_compressions(".csv")
    unit: ClassVar[str] = "the part from byte"
    guesses_types: ClassVar[bool] = True
    sparse: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for alias in self.types.values():
            lines.type_of(alias)

    def inspect(self, file: pa.NativeFile, name: str) -> Inspection:
        """Read the names from the first line and guess the types from the first MiB."""
        head, whole = self.head(file, name)
        if not head.strip():
            return Inspection(schema=None, units=())
        start = self._start(head)
        schema = self._guess(_whole_rows(head[start:], self.quote, whole), self.names(head))
        if self.splits(name):
            return Inspection(schema, lines.cut(start, file.size(), self.unit_bytes))
        return Inspection(schema, () if whole and start >= len(head) else (Unit(0, file.size()),))

    def open(self, file: pa.NativeFile, name: str, schema: pa.Schema, piece_bytes: int) -> _Reader:
        """Open a file for its parts."""
        return _Reader(self, file, name, schema)

    def splits(self, name: str) -> bool:
        """Whether a line break always ends a row, so that a file of this name can be cut there."""
        if lines.compression(name) or not self._ascii_like:
            return False
        return self.newlines_in_values is False or (self.newlines_in_values is None and not self.escape)

    def head(self, file: pa.NativeFile, name: str) -> tuple[bytes, bool]:
        """Return the start of a file's text, in an encoding like ASCII, and whether that is all of it."""
        head, whole = lines.read_head(file, name, "CSV", zeros=not self._ascii_like)
        return (head if self._ascii_like else head.decode(self.encoding, "ignore").encode()), whole

    @property
    def _ascii_like(self) -> bool:
        """Whether a line break is the byte that it is in ASCII."""
        return self.encoding.lower() in _ASCII_LIKE

    @property
    def _head_encoding(self) -> str:
        return self.encoding if self._ascii_like else "utf8"

    def names(self, head: bytes) -> list[str]:
        """Return the names of the columns of a file that begins like this.

        Raises:
            ValueError: two columns have the same name.
        """
        first_lines = head.removeprefix(_BOM).decode(self._head_encoding, "ignore").splitlines()
        first = first_lines[self.skip_lines] if len(first_lines) > self.skip_lines else ""
        # In Python's module a quote that never comes stands for none.
        rows = csv.reader([first], delimiter=self.delimiter, quotechar=self.quote or "\0")
        cells = next(rows)
        names = list(self.column_names) or (cells if self.header else [f"f{i}" for i in range(len(cells))])
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two columns {name!r}. Give others under options.columnNames")
        for name in self.types:
            if name not in names:
                raise ValueError(
                    f"has no column {name!r}, which options.types names. {at_hand(name, names, 'Columns')}"
                )
        return names

    def parse(self, simple: bool) -> pa_csv.ParseOptions:
        """Return how cells are told apart; ``simple`` says that each line break ends a row."""
        return pa_csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote or False,
            escape_char=self.escape or False,
            newlines_in_values=not simple,
        )

    def convert(self, types: Mapping[str, pa.DataType], columns: list[str] | None) -> pa_csv.ConvertOptions:
        """Return how text becomes values."""
        own = (
            {} if self.null_values is None else {"null_values": self.null_values, "strings_can_be_null": True}
        )
        return pa_csv.ConvertOptions(
            column_types=dict(types),
            include_columns=columns,
            timestamp_parsers=[pa_csv.ISO8601, *self.timestamp_formats],
            decimal_point=self.decimal_point,
            quoted_strings_can_be_null=False,
            **own,
        )

    @property
    def lines_before_rows(self) -> int:
        """How many lines of a file come before its first row."""
        return self.skip_lines + self.header

    def _start(self, head: bytes) -> int:
        """Return where the rows begin."""
        start = 0
        for _ in range(self.lines_before_rows):
            start = head.find(b"\n", start) + 1 or len(head)
        return start

    def _guess(self, rows: bytes, names: list[str]) -> pa.Schema:
        types = {name: lines.type_of(alias) for name, alias in self.types.items()}
        if not rows.strip():
            return pa.schema([(name, types.get(name, pa.null())) for name in names])
        read = pa_csv.ReadOptions(column_names=names, encoding=self._head_encoding)
        with _explained(names):
            return pa_csv.read_csv(
                pa.BufferReader(rows), read, self.parse(simple=False), self.convert(types, None)
            ).schema


class _Reader:
    def __init__(self, options: Csv, file: pa.NativeFile, name: str, schema: pa.Schema) -> None:
        self._options = options
        self._file = file
        self._name = name
        self._schema = schema
        self._names = options.names(options.head(file, name)[0])

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield the rows of a part, or of a whole file as it is decompressed."""
        with _explained(self._names):
            yield from self._read_part(unit) if self._options.splits(self._name) else self._read_file()

    def _read_part(self, unit: Unit) -> Iterator[pa.Table]:
        rows = lines.read_lines(self._file, unit)
        if not rows.strip():
            return
        quotes = rows.count(self._options.quote.encode()) if self._options.quote else 0
        if quotes % 2 and self._options.newlines_in_values is None:
            raise ValueError(
                "begins or ends within a quoted cell. Set options.newlinesInValues: true if cells hold line "
                "breaks, which makes each file one unit, or false if a quote is an ordinary character"
            )
        simple = quotes == 0 or self._options.newlines_in_values is False
        table = pa_csv.read_csv(
            pa.BufferReader(rows),
            self._read_options(0, self._part_block),
            self._options.parse(simple),
            self._convert(),
        )
        yield table.select(self._schema.names)

    def _read_file(self) -> Iterator[pa.Table]:
        stream = lines.stream(self._file, self._name)
        simple = self._options.newlines_in_values is False
        try:
            batches = pa_csv.open_csv(
                stream,
                self._read_options(
                    self._options.lines_before_rows, lines.stream_block(self._options.unit_bytes)
                ),
                self._options.parse(simple),
                self._convert(),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise
        for batch in batches:
            yield pa.Table.from_batches([batch]).select(self._schema.names)

    @property
    def _part_block(self) -> int:
        """A part is parsed by several threads, a block each."""
        return max(self._options.unit_bytes // 4, lines.LEAST_BLOCK_BYTES)

    def _read_options(self, skip_lines: int, block: int) -> pa_csv.ReadOptions:
        return pa_csv.ReadOptions(
            column_names=self._names,
            skip_rows=skip_lines,
            block_size=block,
            encoding=self._options.encoding,
        )

    def _convert(self) -> pa_csv.ConvertOptions:
        """Convert the columns wanted; to count rows any one, as text, will do."""
        types = {field.name: field.type for field in self._schema} or {self._names[0]: pa.string()}
        return self._options.convert(types, list(types))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@contextmanager
def _explained(names: list[str]) -> Iterator[None]:
    """Turn what pyarrow says about a text into a clause for a person."""
    try:
        yield
    except pa.ArrowInvalid as error:
        said = " ".join(str(error).split()).rstrip(".")
        if found := _BAD_VALUE.search(said):
            column, kind, value = names[int(found[1])], found[2], found[3]
            raise ValueError(
                f"column {column!r}, has {value!r}, which is no {kind}. {_TYPE_REMEDY}"
            ) from error
        if "straddling object" in said:
            raise ValueError("has a row that is too long to be read. Raise options.unitBytes") from error
        raise ValueError(f"is no such CSV: {said}. {_SHAPE_REMEDY}") from error


def _whole_rows(head: bytes, quote: str, whole: bool) -> bytes:
    """Return the rows of a file's start that are all there."""
    end = len(head)
    while not whole and end > 0:
        end = head.rfind(b"\n", 0, end)
        if not quote or head.count(quote.encode(), 0, end) % 2 == 0:
            break
    return head[:end] if end > 0 else head
