"""Rows in decoded form: an Arrow IPC stream for each piece of the data, mapped read-only by who needs it.

Columns of one type without missing values lie one after the other in such a file, at even distances, so that
a matrix of them is a view of the mapping and not a copy. The kernel's page cache is the memory; processes of
a node share it.

A file is believed only if all of it is as it was written: a trailer behind the stream holds the piece's name,
the stream's length and a sum over every word. The sum is taken once in each process, at memory speed, which
is why files are not synced to disk: what a power cut leaves behind is found out.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from mlpools.data.cache.shelf import Shelf

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
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._mapped: dict[str, tuple[_Version, pa.Table]] = {}

    def find(self, name: str) -> pa.Table | None:
        """Return a table as views of its mapped file, or None; a damaged file is removed."""
        path = self.shelf.find(name + _SUFFIX)
        if path is None:
            self._mapped.pop(name, None)
            return None
        try:
            version = _version(path.stat())
            known = self._mapped.get(name)
            if known is None or known[0] != version:
                known = (version, _read(path, name))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, pa.ArrowException):
            self.shelf.drop(name + _SUFFIX)
            return None
        self._mapped[name] = known
        return known[1]

    def keep(self, name: str, table: pa.Table) -> pa.Table:
        """Write a table, and return it as views of the mapped file; itself where it cannot be kept."""
        table = table.replace_schema_metadata(None).combine_chunks()
        sink = pa.MockOutputStream()
        _write(sink, table)
        length = sink.size()

        written: list[tuple[_Version, pa.Table]] = []

        def write(file: BinaryIO) -> None:
            _write(file, table)
            file.flush()
            mapping = _map(file.fileno(), length)
            file.write(_TRAILER.pack(bytes.fromhex(name), length, _sum(mapping)))
            file.flush()
            written.append((_version(os.fstat(file.fileno())), _table(mapping)))

        if self.shelf.put(name + _SUFFIX, length + _TRAILER.size, write) is None:
            return table
        self._mapped[name] = written[0]
        return written[0][1]

    def __reduce__(self) -> tuple[Any, ...]:
        return DecodedCache, (self.shelf,)


_Version = tuple[int, int, int]


def _version(stat: os.stat_result) -> _Version:
    """Return what differs between two files that had one name after the other."""
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _write(sink: Any, table: pa.Table) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _read(path: Path, name: str) -> pa.Table:
    """Map a file and see that it is whole.

    Raises:
        ValueError: it is not.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = size - _TRAILER.size
        if length <= 0:
            raise ValueError("too short")
        file.seek(length)
        trailer = file.read(_TRAILER.size)
        mapping = _map(file.fileno(), length)
    if trailer != _TRAILER.pack(bytes.fromhex(name), length, _sum(mapping)):
        raise ValueError("not what was written")
    return _table(mapping)


def _map(descriptor: int, length: int) -> mmap.mmap:
    """Map the stream, all of its pages at once: a fault for each few of them costs more than the read."""
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    return mmap.mmap(descriptor, length, flags=flags, prot=mmap.PROT_READ)


def _table(mapping: mmap.mmap) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(mapping)).read_all()


def _sum(mapping: mmap.mmap) -> int:
    """Return a sum over all words that a changed, lost or moved one changes; a stream is whole words."""
    words = np.frombuffer(mapping, np.uint64, len(mapping) // 8)
    whole = len(words) // _BLOCK * _BLOCK
    blocks = words[:whole].reshape(-1, _BLOCK).sum(axis=1, dtype=np.uint64)
    sums = np.concatenate([blocks, words[whole:]])
    return int((sums * np.arange(1, 2 * len(sums), 2, dtype=np.uint64)).sum(dtype=np.uint64))
