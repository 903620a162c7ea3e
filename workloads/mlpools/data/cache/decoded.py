"""Rows in decoded form: an Arrow IPC stream for each piece of the data, mapped read-only by who needs it.

Columns of one type without missing values lie one after the other in such a file, at even distances, so that
a matrix of them is a view of the mapping and not a copy. The kernel's page cache is the memory; processes of
a node share it. Each mapping is private and made anew: who changes a batch in place neither crashes, nor
changes the file, nor sees the change in the next epoch.

A file is believed only if all of it is as it was written: a trailer behind the stream holds the piece's name,
the stream's length and a sum over every word. The sum is taken once in each process, at memory speed, which
is why files are not synced to disk: what a power cut leaves behind is found out.
"""

from __future__ import annotations

import contextlib
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

from mlpools.data.cache.shelf import Shelf

_SUFFIX = ".arrow"
#: Name of the piece, bytes of the stream, sum of its words.
_TRAILER = struct.Struct("<32sQQ")
#: Linux's MADV_POPULATE_READ, which Python's mmap does not name.
_POPULATE_READ = 22
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
        self._trusted: dict[str, _Version] = {}

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
            return None
        try:
            table, self._trusted[file_name] = _read(path, name, self._trusted.get(file_name))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, pa.ArrowException):
            self.shelf.drop(file_name)
            return None
        return table

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
            mapping = _map(file.fileno(), length)
            file.write(_TRAILER.pack(bytes.fromhex(name), length, _sum(mapping)))
            file.flush()
            self._trusted[file_name] = _version(file)
            written.append(_table(mapping))

        if self.shelf.put(file_name, length + _TRAILER.size, write, self._trusted) is None:
            self.complete = False
            return table
        return written[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return DecodedCache, (self.shelf,)


_Version = tuple[int, int, int]


def _version(file: BinaryIO) -> _Version:
    """Return what differs between two files that had one name after the other."""
    stat = os.fstat(file.fileno())
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _write(sink: Any, table: pa.Table) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _read(path: Path, name: str, trusted: _Version | None) -> tuple[pa.Table, _Version]:
    """Map a file, and see that it is whole unless it is the one that is trusted.

    Raises:
        ValueError: it is not.
    """
    with path.open("rb") as file:
        version = _version(file)
        length = version[2] - _TRAILER.size
        if length <= 0:
            raise ValueError("too short")
        mapping = _map(file.fileno(), length)
        if version != trusted:
            file.seek(length)
            if file.read() != _TRAILER.pack(bytes.fromhex(name), length, _sum(mapping)):
                raise ValueError("not what was written")
    return _table(mapping), version


def _map(descriptor: int, length: int) -> mmap.mmap:
    """Map the stream, all of its pages at once: a fault for each few of them costs more than the read."""
    mapping = mmap.mmap(descriptor, length, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    with contextlib.suppress(OSError):  # Linux before 5.14
        mapping.madvise(_POPULATE_READ)
    return mapping


def _table(mapping: mmap.mmap) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(mapping)).read_all()


def _sum(mapping: mmap.mmap) -> int:
    """Return a sum over all words that a changed, lost or moved one changes; a stream is whole words."""
    words = np.frombuffer(mapping, np.uint64, len(mapping) // 8)
    whole = len(words) // _BLOCK * _BLOCK
    blocks = words[:whole].reshape(-1, _BLOCK).sum(axis=1, dtype=np.uint64)
    sums = np.concatenate([blocks, words[whole:]])
    return int((sums * np.arange(1, 2 * len(sums), 2, dtype=np.uint64)).sum(dtype=np.uint64))
