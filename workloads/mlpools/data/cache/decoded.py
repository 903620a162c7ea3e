"""Rows in decoded form: an Arrow IPC stream for each piece of the data, mapped read-only by who needs it.

Columns of one type without missing values lie one after the other in such a file, at even distances, so that
a matrix of them is a view of the mapping and not a copy. The kernel's page cache is the memory; processes of
a node share it. Mappings are private, and one that was written to is not used again: who changes a batch in
place neither crashes, nor changes the file, nor sees the change in the next epoch.

A file is believed only if all of it is as it was written: a trailer behind the stream holds the piece's name,
the stream's length and a sum over every word. The sum is taken once in each process, at memory speed, which
is why files are not synced to disk: what a power cut leaves behind is found out.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from mlpools.data.cache.mapping import Mappings, Version, map_file
from mlpools.storage.shelf import Shelf

_SUFFIX = ".arrow"
#: Name of the piece, bytes of the stream, sum of its words.
_TRAILER = struct.Struct("<32sQQ")
#: Words that are summed as one, before the sums are weighted by their place.
_BLOCK = 1024


def name_of(identity: Any) -> str:
    """Return the name of a piece of data.

    Args:
        identity: everything that decides about its rows, as JSON can say it: file, version, place in the
            file, columns with their types, filter.
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


class DecodedCache:
    """Tables by name, mapped from files.

    Attributes:
        shelf: the files.
        complete: whether all that should be kept was kept.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.complete = True
        #: Files that this process wrote or has summed, and uses.
        self._trusted: dict[str, Version] = {}
        self._mappings = Mappings()

    def pieces(self, identity: Any, read: Callable[[], Iterator[pa.Table]]) -> Iterator[pa.Table]:
        """Yield the tables of a unit of data: those that are here, and those that are read now and kept.

        Data larger than the budget is kept in part, always the same part: what was used by this reader is
        not given up for what it reads next, or everything would be gone before it is used again.

        Args:
            identity: everything that decides about the unit's rows, as JSON can say it.
            read: begins to read the unit's tables.
        """
        source: Iterator[pa.Table] | None = None
        given = 0
        for number in itertools.count():
            name = name_of([identity, number])
            table = self.find(name)
            if table is None:
                if source is None:
                    source = (table for table in read() if table.num_rows)
                fresh = next(itertools.islice(source, number - given, None), None)
                given = number + 1
                # A unit ends with a table without rows: the number of its pieces stands nowhere else.
                table = self.keep(name, pa.table({}) if fresh is None else fresh)
            if not table.num_rows:
                return
            yield table

    def find(self, name: str) -> pa.Table | None:
        """Return a table as views of its mapped file, or None; a damaged file is removed."""
        file_name = name + _SUFFIX
        path = self.shelf.find(file_name)
        if path is None:
            self._mappings.forget(file_name)
            return None
        try:
            return self._mapped(path, name, file_name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, pa.ArrowException):
            self.shelf.drop(file_name)
            return None

    def _mapped(self, path: Path, name: str, file_name: str) -> pa.Table:
        """Map a file, if it is not, and see that it is whole, if that is not known.

        Raises:
            ValueError: it is not whole.
        """
        trusted = self._trusted.get(file_name)
        version = _version(path.stat())
        mapping = self._mappings.take(file_name, version)
        if mapping is None or version != trusted:
            mapping, version = _map(path, name, trusted)
            self._trusted[file_name] = version
        return _table(self._mappings.lend(file_name, version, mapping))

    def keep(self, name: str, table: pa.Table) -> pa.Table:
        """Write a table, and return it as views of the mapped file; itself where it cannot be kept."""
        file_name = name + _SUFFIX
        table = table.replace_schema_metadata(None).combine_chunks()
        sink = pa.MockOutputStream()
        _write(sink, table)
        length = sink.size()
        written: list[pa.Table] = []

        def write(file: BinaryIO) -> None:
            _write(file, table)
            file.flush()
            mapping = map_file(file.fileno(), length)
            file.write(_TRAILER.pack(bytes.fromhex(name), length, _sum(mapping)))
            file.flush()
            version = _version(os.fstat(file.fileno()))
            self._trusted[file_name] = version
            written.append(_table(self._mappings.lend(file_name, version, mapping)))

        if self.shelf.put(file_name, length + _TRAILER.size, write, self._trusted) is None:
            self.complete = False
            return table
        return written[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return DecodedCache, (self.shelf,)


def _version(stat: os.stat_result) -> Version:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _write(sink: Any, table: pa.Table) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _map(path: Path, name: str, trusted: Version | None) -> tuple[mmap.mmap, Version]:
    """Map a file's stream, and see that it is whole unless it is the one that is trusted.

    Raises:
        ValueError: it is not.
    """
    with path.open("rb") as file:
        version = _version(os.fstat(file.fileno()))
        length = version[2] - _TRAILER.size
        if length <= 0:
            raise ValueError("too short")
        mapping = map_file(file.fileno(), length)
        if version != trusted:
            file.seek(length)
            if file.read() != _TRAILER.pack(bytes.fromhex(name), length, _sum(mapping)):
                raise ValueError("not what was written")
    return mapping, version


def _table(stream: pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(stream).read_all()


def _sum(mapping: mmap.mmap) -> int:
    """Return a sum over all words that a changed, lost or moved one changes; a stream is whole words."""
    words = np.frombuffer(mapping, np.uint64, len(mapping) // 8)
    whole = len(words) // _BLOCK * _BLOCK
    blocks = words[:whole].reshape(-1, _BLOCK).sum(axis=1, dtype=np.uint64)
    sums = np.concatenate([blocks, words[whole:]])
    return int((sums * np.arange(1, 2 * len(sums), 2, dtype=np.uint64)).sum(dtype=np.uint64))
