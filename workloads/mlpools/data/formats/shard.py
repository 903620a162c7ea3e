"""Arrow shards of small files, as ``generate_shards`` makes them: a unit is a record batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data import formats
from mlpools.data.crew import Crew
from mlpools.data.formats import Inspection
from mlpools.data.formats.whole import Content
from mlpools.data.packs import PATH, cut
from mlpools.data.plan import Unit

#: Where a shard keeps its files' bytes.
BYTES = "bytes"
_ALL = 1 << 62


@dataclasses.dataclass(frozen=True)
class Shard:
    """Files' contents, and their paths in column ``path``.

    Attributes:
        content: name of one of ``formats.CONTENTS``.
        options: of the content, with what the first file decides.
    """

    content: str = "binary"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    suffixes: ClassVar[tuple[str, ...]] = (".arrow",)
    unit: ClassVar[str] = "record batch"
    guesses_types: ClassVar[bool] = False
    sparse: ClassVar[bool] = False

    def inspect(self, file: pa.NativeFile, name: str) -> Inspection:
        """Read where the batches are."""
        reader = pa.ipc.open_file(file)
        units = tuple(Unit(i, i + 1) for i in range(reader.num_record_batches))
        content = formats.make_content(self.content, self.options)
        return Inspection(pa.schema([content.field, (PATH, pa.large_string())]), units)

    def open(self, file: pa.NativeFile, name: str, schema: pa.Schema, piece_bytes: int) -> _Contents:
        """Open a shard for its record batches."""
        content = formats.make_content(self.content, self.options)
        return _Contents(file, content, schema.names, piece_bytes)


class _Contents:
    def __init__(self, file: pa.NativeFile, content: Content, names: list[str], piece_bytes: int) -> None:
        self._file = file
        self._reader = pa.ipc.open_file(file)
        self._content = content
        self._names = names
        self._piece_bytes = piece_bytes
        self._crew = Crew()

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield the files of a batch, in pieces that fit the budget."""
        batch = self._reader.get_batch(unit.start)
        if self._content.field.name not in self._names:
            yield pa.Table.from_batches([batch]).select(self._names)
            return
        lengths = pc.binary_length(batch.column(BYTES)).to_numpy()
        sizes = [self._content.row_bytes(int(length)) for length in lengths]
        for start, stop in cut(sizes, self._piece_bytes, _ALL):
            some = batch.slice(start, stop - start)
            columns = {PATH: some.column(PATH), self._content.field.name: self._decoded(some)}
            yield pa.Table.from_arrays([columns[name] for name in self._names], names=self._names)

    def _decoded(self, batch: pa.RecordBatch) -> pa.Array:
        values, paths = batch.column(BYTES), batch.column(PATH)

        def decode(row: int) -> Any:
            try:
                return self._content.decode(values[row].as_py())
            except ValueError as error:
                raise ValueError(f"{paths[row].as_py()} {error}") from error

        return self._content.array(self._crew.map(decode, range(batch.num_rows)))

    def close(self) -> None:
        """Let go of the file."""
        self._crew.close()
        self._file.close()
