"""Documents of a job's output as text that any reader of JSON takes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from mlpools.storage import FileMissing, Location


def pretty(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON that a person can read; numbers that JSON has not, such as NaN, are null."""
    return json.dumps(_finite(document), indent=1, sort_keys=True, allow_nan=False).encode()


def lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return one JSON object a line; numbers that JSON has not are null."""
    return b"".join(json.dumps(_finite(row), allow_nan=False).encode() + b"\n" for row in rows)


def read(place: Location) -> dict[str, Any] | None:
    """Return a document of JSON, or None if there is none, or something else.

    Raises:
        DataNotReadable: the place cannot be looked into, which says nothing of what is there.
    """
    try:
        data = place.read()
    except FileMissing:
        return None
    try:
        document = json.loads(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
