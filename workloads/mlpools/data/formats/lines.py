"""What line-based formats share: parts of a file at line borders, and compressed files.

A file that is not compressed is cut into parts at fixed bytes. A line belongs to the part that its first
byte lies in, so that every line is in exactly one part and nobody has to look at the borders beforehand.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mlpools.data.formats.magic import is_no, looks_like
from mlpools.data.plan import Unit

#: Ending of a name -> pyarrow's name of the compression.
_COMPRESSIONS: Mapping[str, str] = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".zst": "zstd",
    ".lz4": "lz4",
    ".br": "brotli",
}
#: Types are guessed from this much of a file's start.
HEAD_BYTES = 1 << 20
_LINE_READ_BYTES = 1 << 16
#: A row has to fit into what is parsed at once.
LEAST_BLOCK_BYTES = 1 << 20


def with_compressions(*suffixes: str) -> tuple[str, ...]:
    """Return suffixes of plain and of compressed files."""
    return tuple(suffix + ending for suffix in suffixes for ending in ("", *_COMPRESSIONS))


def compression(name: str) -> str | None:
    """Return how a file of this name is compressed."""
    return next((codec for ending, codec in _COMPRESSIONS.items() if name.endswith(ending)), None)


def stream(file: pa.NativeFile, name: str) -> pa.NativeFile:
    """Return a file's text from its start, decompressed if its name says so.

    Closing it leaves the file open.
    """
    raw = file.get_stream(0, file.size())
    codec = compression(name)
    return pa.CompressedInputStream(raw, codec) if codec else raw


def stream_block(unit_bytes: int) -> int:
    """Return the bytes parsed at once in a file without parts: Arrow reads some 32 blocks ahead."""
    return max(unit_bytes // 16, LEAST_BLOCK_BYTES)


def read_head(file: pa.NativeFile, name: str, kind: str, *, zeros: bool = False) -> tuple[bytes, bool]:
    """Return the start of a file's text, and whether that is all of it.

    Args:
        file: to read from.
        name: the end of its URL.
        kind: of file that it ought to be.
        zeros: whether text of its encoding has zero bytes.

    Raises:
        ValueError: it is no text.
    """
    head: bytes = stream(file, name).read(HEAD_BYTES + 1)
    if looks_like(head) or (b"\0" in head[:_LINE_READ_BYTES] and not zeros):
        raise ValueError(is_no(kind, head))
    return head[:HEAD_BYTES], len(head) <= HEAD_BYTES


def cut(start: int, size: int, unit_bytes: int) -> tuple[Unit, ...]:
    """Return the parts of a file from a line's start on, all of about the same size."""
    parts = max(1, round((size - start) / unit_bytes)) if size > start else 0
    borders = [start + (size - start) * i // parts for i in range(parts)] + [size]
    return tuple(Unit(a, b) for a, b in itertools.pairwise(borders))


def read_lines(file: pa.NativeFile, unit: Unit) -> bytes:
    """Return the lines that begin within a part."""
    begin = 0 if unit.start == 0 else _line_start(file, unit.start)
    end = _line_start(file, unit.stop)
    data: bytes = file.read_at(max(0, end - begin), begin)
    return data


def type_of(alias: Any) -> pa.DataType:
    """Return the type of a name such as ``int64``, ``string``, ``date32`` or ``timestamp[us]``.

    Raises:
        ValueError: there is none.
    """
    try:
        return pa.type_for_alias(alias)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"there is no type {alias!r}; there are int64, float32, double, bool, string, date32, "
            "timestamp[us] and the like"
        ) from error


def _line_start(file: pa.NativeFile, position: int) -> int:
    """Return where the first line at or after a position begins; the end of the file if there is none."""
    at, size = position - 1, file.size()
    while at < size:
        chunk: bytes = file.read_at(min(_LINE_READ_BYTES, size - at), at)
        found = chunk.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(chunk)
    return int(size)
