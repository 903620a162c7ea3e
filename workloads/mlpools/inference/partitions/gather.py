"""A bucket's rows, key by key: in memory, or parted on disk until what belongs together fits.

Keys are told apart by their values; hashes only say what has to be looked at together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlpools.data.groups import codes
from mlpools.data.hashing import hash64
from mlpools.errors import DataNotReadable
from mlpools.inference.partitions.buckets import split
from mlpools.inference.scoring import PoisonRow

#: Files that a part is split into, each of which is open meanwhile.
_WAYS = 64
_SHOWN = 100


class PoisonKey(PoisonRow):
    """A key that there are no predictions for.

    Attributes:
        key: as a text.
    """

    def __init__(self, key: str, error: str) -> None:
        super().__init__(0, error)
        self.key = key


@dataclasses.dataclass(frozen=True)
class Limits:
    """What memory and disk are for.

    Attributes:
        load: bytes of rows that are brought together at once.
        key: bytes that the rows of one key may take.
        folder: for what does not fit into memory.
    """

    load: int
    key: int
    folder: Path


@dataclasses.dataclass(frozen=True)
class Groups:
    """Rows of some keys, those of each key together and in the input's order.

    Attributes:
        rows: of all of them.
        borders: where each key's rows begin, and the end.
    """

    rows: pa.Table
    borders: list[int]

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return int(self.rows.nbytes)

    @property
    def num_rows(self) -> int:
        """Rows of all keys."""
        return int(self.rows.num_rows)

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield each key's rows."""
        for start, stop in zip(self.borders, self.borders[1:], strict=False):
            yield self.rows.slice(start, stop - start)


def gather(tables: Iterable[pa.Table], column: str, buckets: int, limits: Limits) -> Iterator[Groups]:
    """Yield all keys of a bucket.

    Args:
        tables: the bucket's rows.
        column: of the keys.
        buckets: by how many the hashes were told apart before.
        limits: of memory and disk.

    Raises:
        DataNotReadable: the disk has too little room.
        PoisonKey: a key has more rows than fit; before any key was yielded.
    """
    coming, held, size = iter(tables), [], 0
    for table in coming:
        held.append(table)
        size += table.nbytes
        if size > limits.load:
            break
    else:
        if held:
            yield _together(held, column)
        return
    with _on_disk(limits.folder), tempfile.TemporaryDirectory(dir=limits.folder) as folder:
        splitter = _Splitter(column, limits, Path(folder))
        for part in splitter.split(_taken(held, coming), buckets):
            yield _together([part.read()], column)


def key_text(rows: pa.Table, column: str) -> str:
    """Return the key of some rows as a text for people."""
    value = rows.column(column)[0].as_py()
    text = "null" if value is None else str(value) or "''"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _together(tables: list[pa.Table], column: str) -> Groups:
    rows = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    found = codes(rows.column(column).combine_chunks())
    order = np.argsort(found, kind="stable")
    borders = np.flatnonzero(np.diff(found[order], prepend=-1))
    return Groups(rows.take(pa.array(order)), [*borders.tolist(), len(found)])


def _taken(held: list[pa.Table], coming: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the tables of a list, which lets go of them, and then others."""
    while held:
        yield held.pop(0)
    yield from coming


@dataclasses.dataclass
class _Part:
    """A file with rows of a bucket.

    Attributes:
        path: of the file, once there are rows.
        bytes: that the rows take in memory.
        low: smallest of the keys' hashes.
        high: largest of them.
    """

    path: Path
    bytes: int = 0
    low: int = 1 << 64
    high: int = -1

    @property
    def single(self) -> bool:
        """Whether all keys have one hash, so that nothing can be told apart any more."""
        return self.low == self.high

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows as they were written."""
        with pa.ipc.open_stream(str(self.path)) as stream:
            for batch in stream:
                yield pa.Table.from_batches([batch])

    def read(self) -> pa.Table:
        """Return the rows, and delete the file."""
        with pa.ipc.open_stream(str(self.path)) as stream:
            table = stream.read_all()
        self.path.unlink()
        return table


@dataclasses.dataclass
class _Splitter:
    column: str
    limits: Limits
    folder: Path
    made: int = 0

    def split(self, tables: Iterable[pa.Table], divisor: int) -> list[_Part]:
        """Return rows in files, each small enough to be loaded or of a single hash."""
        small = []
        for part in self._scatter(tables, divisor):
            if part.single and part.bytes > self.limits.key:
                raise self._too_large(part)
            if part.single or part.bytes <= self.limits.load:
                small.append(part)
            else:
                small += self.split(part.tables(), divisor * _WAYS)
                part.path.unlink()
        return small

    def _scatter(self, tables: Iterable[pa.Table], divisor: int) -> list[_Part]:
        parts: dict[int, _Part] = {}
        writers: dict[int, Any] = {}
        with contextlib.ExitStack() as stack:
            for table in tables:
                hashes = hash64(table.column(self.column).combine_chunks(), self.column)
                ways = split(hashes, divisor, _WAYS)
                for way in np.unique(ways).tolist():
                    mine = np.flatnonzero(ways == way)
                    rows = table.take(pa.array(mine))
                    if way not in parts:
                        self.made += 1
                        parts[way] = _Part(self.folder / f"{self.made:06d}.arrow")
                        writer = pa.ipc.new_stream(str(parts[way].path), table.schema)
                        writers[way] = stack.enter_context(writer)
                    writers[way].write_table(rows)
                    part = parts[way]
                    part.bytes += rows.nbytes
                    part.low = min(part.low, int(hashes[mine].min()))
                    part.high = max(part.high, int(hashes[mine].max()))
        return list(parts.values())

    def _too_large(self, part: _Part) -> PoisonKey:
        key = key_text(next(part.tables()), self.column)
        return PoisonKey(
            key,
            f"its rows take {part.bytes / 1e6:,.0f} MB, and one call may take "
            f"{self.limits.key / 1e6:,.0f} MB of a worker's memory. Give the pool's nodes more memory, or "
            "partition by a column with more values",
        )


@contextlib.contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataNotReadable(
            f"The rows of a bucket do not fit into memory, and {folder} has no room for them: "
            f"{error.strerror or error}. Give the pool's nodes more memory or a larger cache."
        ) from error
