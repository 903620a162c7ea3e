"""The end of an ORC file: rows and statistics of its stripes, which pyarrow does not give to Python.

Protocol: the ORC specification, version 1: https://orc.apache.org/specification/ORCv1/. The tail consists of
Protocol Buffers messages, compressed in chunks like the rest of the file: metadata (statistics of
stripes), footer, postscript, and one byte that is the postscript's length.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from mlpools.data.formats import Bounds

#: Field number -> values in order: an int, or bytes of a fixed or delimited field.
Message = dict[int, list[Any]]

_EPOCH = datetime.date(1970, 1, 1)


class _Unknown(Exception):  # noqa: N818 - not an error: the reader does without
    """The tail is compressed in a way that is not unpacked here."""


@dataclasses.dataclass(frozen=True)
class Tail:
    """What a tail tells.

    Attributes:
        stripe_rows: rows of each stripe.
        columns: position of each top-level column in a stripe's statistics.
        statistics: of each stripe, one message a column; may be shorter than the stripes.
    """

    stripe_rows: list[int]
    columns: Mapping[str, int]
    statistics: list[list[bytes]]

    def bounds(self, stripe: int, column: str) -> Bounds | None:
        """Return what is known about a column of a stripe."""
        place = self.columns.get(column)
        if place is None or stripe >= len(self.statistics) or place >= len(self.statistics[stripe]):
            return None
        statistics = _fields(self.statistics[stripe][place])
        rows = self.stripe_rows[stripe]
        low, high = _low_high(statistics)
        values = statistics.get(1)
        return Bounds(low, high, nulls=None if values is None else rows - values[0], rows=rows)


def read_tail(file: pa.NativeFile) -> tuple[bytes, Tail | None]:
    """Return the tail's bytes and content; None where it is compressed by LZO or LZ4.

    Raises:
        ValueError: the file is cut short or damaged.
    """
    size = file.size()
    postscript_size = file.read_at(1, size - 1)[0]
    postscript = _fields(file.read_at(postscript_size, size - 1 - postscript_size))
    if postscript.get(8000) != [b"ORC"]:
        raise ValueError("is cut short or damaged: it has no ORC postscript. Write the file anew")
    footer_size, metadata_size = postscript[1][0], postscript.get(5, [0])[0]
    length = 1 + postscript_size + footer_size + metadata_size
    raw: bytes = file.read_at(length, size - length)
    try:
        unpack = _UNPACK.get(postscript.get(2, [0])[0], _give_up)
        metadata = _fields(_chunks(raw[:metadata_size], unpack))
        footer = _fields(_chunks(raw[metadata_size : metadata_size + footer_size], unpack))
    except _Unknown:
        return raw, None
    root = _fields(footer[4][0])
    names = [name.decode() for name in root.get(3, [])]
    return raw, Tail(
        stripe_rows=[_fields(stripe).get(5, [0])[0] for stripe in footer.get(3, [])],
        columns=dict(zip(names, _numbers(root.get(2, [])), strict=True)),
        statistics=[_fields(stripe).get(1, []) for stripe in metadata.get(1, [])],
    )


def _low_high(statistics: Message) -> tuple[Any, Any]:
    """Return the least and greatest value of a column, or twice None."""
    for field, convert in _STATISTICS.items():
        if field in statistics:
            found = _fields(statistics[field][0])
            if 1 in found and 2 in found:
                return convert(found[1][0]), convert(found[2][0])
    return None, None


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


def _double(raw: bytes) -> float:
    value: float = struct.unpack("<d", raw)[0]
    return value


#: Field of the column statistics -> how its least and greatest value are written.
_STATISTICS: Mapping[int, Callable[[Any], Any]] = {
    2: _signed,
    3: _double,
    4: lambda raw: raw.decode(),
    6: lambda raw: decimal.Decimal(raw.decode()),
    7: lambda days: _EPOCH + datetime.timedelta(days=_signed(days)),
}


def _fields(raw: bytes) -> Message:
    """Take a Protocol Buffers message apart."""
    message: Message = {}
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        value: Any
        match key & 7:
            case 0:
                value, at = _varint(raw, at)
            case 1:
                value, at = raw[at : at + 8], at + 8
            case 2:
                length, at = _varint(raw, at)
                value, at = raw[at : at + length], at + length
            case 5:
                value, at = raw[at : at + 4], at + 4
            case _:
                raise ValueError("is damaged: its ORC footer makes no sense. Write the file anew")
        message.setdefault(key >> 3, []).append(value)
    return message


def _numbers(values: list[Any]) -> list[int]:
    """Return the numbers of a repeated field, packed or not."""
    numbers: list[int] = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            numbers.append(number)
    return numbers


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(raw):
        byte = raw[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise ValueError("is damaged: its ORC footer ends too early. Write the file anew")


def _chunks(raw: bytes, unpack: Callable[[bytes], bytes] | None) -> bytes:
    """Unpack chunks, each after three bytes: its length, and in the last bit whether it is packed at all."""
    if unpack is None:
        return raw
    parts = []
    at = 0
    while at < len(raw):
        header = int.from_bytes(raw[at : at + 3], "little")
        chunk = raw[at + 3 : at + 3 + (header >> 1)]
        parts.append(chunk if header & 1 else unpack(chunk))
        at += 3 + (header >> 1)
    return b"".join(parts)


def _unpack_zlib(chunk: bytes) -> bytes:
    return zlib.decompress(chunk, -zlib.MAX_WBITS)


def _unpack_snappy(chunk: bytes) -> bytes:
    size, _ = _varint(chunk, 0)
    unpacked: bytes = pa.decompress(chunk, size, "snappy", asbytes=True)
    return unpacked


def _unpack_zstd(chunk: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(chunk), "zstd") as stream:
        unpacked: bytes = stream.read()
    return unpacked


def _give_up(chunk: bytes) -> bytes:
    raise _Unknown


#: The postscript's number of a compression -> how to unpack it.
_UNPACK: Mapping[int, Callable[[bytes], bytes] | None] = {
    0: None,
    1: _unpack_zlib,
    2: _unpack_snappy,
    5: _unpack_zstd,
}
