"""A hash of values that is the same in every process, on every machine, and for every form of a value.

What is equal hashes alike: an integer of any width, a text of any Arrow type or in a dictionary, a decimal
number of any scale, a time of any unit. Null is one value. The numbers never change: files on disk are named
and cut by them.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlpools.errors import InvalidSpec

Hashes = npt.NDArray[np.uint64]

#: Stands for null; any number would do.
_NULL = np.uint64(0x9E3779B97F4A7C15)


def hash64(values: pa.Array, column: str) -> Hashes:
    """Return a 64-bit hash of each value.

    Args:
        values: integers, booleans, decimal numbers, texts, bytes, dates or times; also in a dictionary.
        column: their name, for messages.

    Raises:
        InvalidSpec: values of this type are not compared for being equal.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        found = hash64(values.dictionary, column)
        codes = values.indices.fill_null(0).to_numpy(zero_copy_only=False)
        hashes = found[codes] if len(found) else np.full(len(values), _NULL)
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        wide = pa.uint64() if kind == pa.uint64() else pa.int64()
        numbers = values.cast(wide).fill_null(0).to_numpy(zero_copy_only=False)
        hashes = _mixed(numbers.view(np.uint64))
    elif _is_text(kind) or _is_bytes(kind) or pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        coded = values.dictionary_encode()
        digests = np.array([_digest(item) for item in _plain(coded.dictionary).to_pylist()], dtype=np.uint64)
        codes = coded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        hashes = digests[codes] if len(digests) else np.full(len(values), _NULL)
    else:
        raise InvalidSpec(
            f"Column {column!r} is {kind}; groups need integers, decimal numbers, texts, bytes, dates or "
            "times."
        )
    return np.where(pc.is_null(values).to_numpy(zero_copy_only=False), _NULL, hashes)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


def _plain(values: pa.Array) -> pa.Array:
    """Return values as bytes, or as texts: those of one number or moment are alike."""
    kind = values.type
    if _is_bytes(kind):
        return values
    if pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp(kind.unit))  # of one moment in every time zone
    texts = values.cast(pa.large_string())
    if _is_text(kind):
        return texts
    # Neither zeros behind the point, nor zero as 0E-9.
    bare = pc.replace_substring_regex(texts, r"^([^.]*\.[0-9]*?)0+(E.*)?$", r"\1\2")
    whole = pc.replace_substring_regex(bare, r"\.(E.*)?$", r"\1")
    return pc.replace_substring_regex(whole, r"^0E.*$", "0")


def _digest(value: str | bytes) -> int:
    data = value.encode() if isinstance(value, str) else value
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _mixed(numbers: Hashes) -> Hashes:
    """Return splitmix64 of each number."""
    mixed = numbers + _NULL
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
