"""A JSON object with camelCase keys as a frozen dataclass: the form of everything that the contract writes.

Standard library only and Python 3.9, as the contract itself. A reader ignores keys that it does not know.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any, TypeVar


class ContractError(ValueError):
    """A document of the contract cannot be read; the message says which and why."""


T = TypeVar("T", bound="Document")


@dataclasses.dataclass(frozen=True)
class Document:
    """A JSON object with camelCase keys; absent values are left out."""

    def to_dict(self) -> dict[str, Any]:
        """Return the plain JSON form, without absent and empty values that a reader fills in again."""
        items = ((f, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {
            _camel(f.name): _plain(value)
            for f, value in items
            if value is not None and not _implied(f, value)
        }

    def to_json(self) -> str:
        """Return the compact JSON text; equal documents have equal text."""
        return json.dumps(self.to_dict(), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_dict(cls: type[T], raw: Mapping[str, Any]) -> T:
        """Read a plain JSON object; unknown keys are ignored.

        Raises:
            ContractError: a required key is absent.
        """
        known = {_camel(f.name): f.name for f in dataclasses.fields(cls)}
        values = {known[key]: value for key, value in raw.items() if key in known}
        try:
            return cls(**values)
        except TypeError as error:
            raise ContractError(f"This {cls.__name__} document is incomplete: {error}.") from error

    @classmethod
    def from_json(cls: type[T], text: str) -> T:
        """Read a JSON text.

        Raises:
            ContractError: it is not JSON, not an object, or a required key is absent.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise ContractError(f"This {cls.__name__} document is not JSON: {error}.") from error
        if not isinstance(raw, dict):
            raise ContractError(f"This {cls.__name__} document is not a JSON object.")
        return cls.from_dict(raw)


def _implied(field: dataclasses.Field[Any], value: Any) -> bool:
    return value in ({}, []) and field.default_factory is not dataclasses.MISSING


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        plain: list[Any] = [_plain(item) for item in value]
        return plain
    return value
