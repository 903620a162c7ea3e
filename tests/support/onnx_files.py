"""Small ONNX models, written by hand in the wire format of protocol buffers."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_FLOAT = 1
_WORD, _BYTES, _FLOAT32 = 0, 2, 5
#: Numbers of the types of attributes, and of the fields that hold them.
_ATTRIBUTES = {float: (1, 2), int: (2, 3), str: (3, 4)}
_LISTS = {float: (6, 7), int: (7, 8), str: (8, 9)}

Value = float | int | str | Sequence[float] | Sequence[int] | Sequence[str]


def row_sums(name: str = "X", features: int = 2, **metadata: str) -> bytes:
    """Return a model that adds up the features of each row: ``[rows, features]`` -> ``[rows]``."""
    node = operator("ReduceSum", [name], "Y", {"axes": [1], "keepdims": 0})
    said = (_field(14, _field(1, key.encode()) + _field(2, text.encode())) for key, text in metadata.items())
    return model(node, {name: ["N", features]}, {"Y": ["N"]}) + b"".join(said)


def sum_of_columns(first: str, second: str) -> bytes:
    """Return a model with one input of shape ``[rows, 1]`` for each of two columns, which adds them."""
    node = operator("Add", [first, second], "Y", {})
    return model(node, {first: ["N", 1], second: ["N", 1]}, {"Y": ["N", 1]})


def operator(
    kind: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Value], domain: str = ""
) -> bytes:
    """Return a node of a graph."""
    return (
        b"".join(_field(1, name.encode()) for name in inputs)
        + _field(2, output.encode())
        + _field(4, kind.encode())
        + b"".join(_field(5, _attribute(name, value)) for name, value in attributes.items())
        + _field(7, domain.encode())
    )


def model(
    node: bytes,
    inputs: Mapping[str, Sequence[str | int]],
    outputs: Mapping[str, Sequence[str | int]],
    domains: Mapping[str, int] | None = None,
) -> bytes:
    """Return a model of one node.

    Args:
        node: of ``operator``.
        inputs: the shape of each, of float32; a text is a dimension of any size.
        outputs: likewise.
        domains: of operators, and the version of each.
    """
    graph = (
        _field(1, node)
        + _field(2, b"g")
        + b"".join(_field(11, _value(name, shape)) for name, shape in inputs.items())
        + b"".join(_field(12, _value(name, shape)) for name, shape in outputs.items())
    )
    versions = (
        _field(8, (_field(1, name.encode()) if name else b"") + _field(2, version))
        for name, version in (domains or {"": 11}).items()
    )
    return _field(1, 7) + _field(7, graph) + b"".join(versions)  # IR 7


def _attribute(name: str, value: Value) -> bytes:
    single = isinstance(value, float | int | str)
    many: Sequence[float | int | str] = [value] if isinstance(value, float | int | str) else value
    kind, field = (_ATTRIBUTES if single else _LISTS)[type(many[0])]
    values = (one.encode() if isinstance(one, str) else one for one in many)
    return _field(1, name.encode()) + b"".join(_field(field, one) for one in values) + _field(20, kind)


def _value(name: str, shape: Sequence[str | int]) -> bytes:
    dims = b"".join(
        _field(1, _field(1, size) if isinstance(size, int) else _field(2, size.encode())) for size in shape
    )
    tensor = _field(1, _FLOAT) + _field(2, dims)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | float | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _WORD) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | _FLOAT32) + struct.pack("<f", value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])
