"""JSON, one object a line: a unit is a part of the file at line borders, or a whole compressed file.

One array of objects is refused: it could be neither cut nor read in pieces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa
import pyarrow.json as pa_json

from mlpools.data.formats import Inspection, lines
from mlpools.data.plan import Unit

#: Stands for all columns where only rows are counted.
_NO_COLUMN = "mlpools.no-column"


@dataclasses.dataclass(frozen=True)
class Json:
    """Options of JSON files.

    Attributes:
        types: of columns by name: ``int64``, ``float32``, ``string``, ``timestamp[us]`` …; the others are
            guessed from the first MiB of each file.
        newlines_in_values: whether an object may go over several lines: each file is one unit then.
        unit_bytes: size of the parts that a file is cut into.
    """

    types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    newlines_in_values: bool = False
    unit_bytes: int = 16 << 20

    suffixes: ClassVar[tuple[str, ...]] = lines.with_compressions(".json", ".jsonl", ".ndjson")
    unit: ClassVar[str] = "the part from byte"
    guesses_types: ClassVar[bool] = True
    sparse: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for alias in self.types.values():
            lines.type_of(alias)

    def inspect(self, file: pa.NativeFile, name: str) -> Inspection:
        """Guess names and types from the first MiB."""
        head, whole = lines.read_head(file, name, "JSON")
        if not head.strip():
            return Inspection(schema=None, units=())
        if head.lstrip().startswith(b"["):
            raise ValueError("is one JSON array. Write one object a line, such as: jq -c '.[]' old > new")
        rows = head if whole else head[: head.rfind(b"\n") + 1] or head
        types = pa.schema([(column, lines.type_of(alias)) for column, alias in self.types.items()])
        with _explained():
            schema = pa_json.read_json(
                pa.BufferReader(rows), _blocks(len(rows)), self._parse(types, "infer")
            ).schema
        if self._splits(name):
            return Inspection(schema, lines.cut(0, file.size(), self.unit_bytes))
        return Inspection(schema, (Unit(0, file.size()),))

    def open(self, file: pa.NativeFile, name: str, schema: pa.Schema, piece_bytes: int) -> _Reader:
        """Open a file for its parts."""
        wanted = schema if len(schema) else pa.schema([(_NO_COLUMN, pa.int8())])
        parse = self._parse(wanted, "ignore")
        return _Reader(file, "" if self._splits(name) else name, schema, parse, self.unit_bytes)

    def _splits(self, name: str) -> bool:
        return not self.newlines_in_values and lines.compression(name) is None

    def _parse(self, schema: pa.Schema, others: str) -> pa_json.ParseOptions:
        return pa_json.ParseOptions(
            explicit_schema=schema,
            newlines_in_values=self.newlines_in_values,
            unexpected_field_behavior=others,
        )


class _Reader:
    def __init__(
        self,
        file: pa.NativeFile,
        streamed: str,
        schema: pa.Schema,
        parse: pa_json.ParseOptions,
        unit_bytes: int,
    ) -> None:
        self._file = file
        self._streamed = streamed
        self._schema = schema
        self._parse = parse
        self._unit_bytes = unit_bytes

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield the rows of a part, or of a whole file as it is decompressed."""
        with _explained():
            if self._streamed:
                stream = lines.stream(self._file, self._streamed)
                blocks = _blocks(lines.stream_block(self._unit_bytes))
                for batch in pa_json.open_json(stream, blocks, self._parse):
                    yield pa.Table.from_batches([batch]).select(self._schema.names)
                return
            rows = lines.read_lines(self._file, unit)
            if rows.strip():
                table = pa_json.read_json(pa.BufferReader(rows), _blocks(len(rows)), self._parse)
                yield table.select(self._schema.names)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _blocks(size: int) -> pa_json.ReadOptions:
    """Read so much at once: an object must lie in one block or in two that follow."""
    return pa_json.ReadOptions(block_size=max(size, 1))


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what pyarrow says about a text into a clause for a person."""
    try:
        yield
    except pa.ArrowInvalid as error:
        said = " ".join(str(error).split()).rstrip(".")
        if "straddling object" in said:
            raise ValueError("has an object that is too long to be read. Raise options.unitBytes") from error
        if "changed from" in said or "Failed to convert" in said:
            raise ValueError(
                f"has a value of another type: {said}. Say the type under options.types"
            ) from error
        raise ValueError(
            f"is no JSON with one object a line: {said}. Mend the file, or set options.newlinesInValues: "
            "true if objects go over several lines"
        ) from error
