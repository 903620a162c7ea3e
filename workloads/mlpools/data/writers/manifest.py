"""What a finished result consists of: its parts with their checksums, as one JSON document."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

#: Of the document's form; a reader refuses what it does not know.
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Part:
    """One file of a result.

    Attributes:
        name: within the result's folder.
        rows: in all row groups.
        bytes: size of the file.
        sha256: of the whole file.
        footer: SHA-256 of the Parquet footer with its length and magic. The footer holds in turn the
            digest of all pages, so that it differs whenever any value does. Empty of other formats.
        group_rows: rows of each row group.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    footer: str
    group_rows: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``from_dict`` reads; ranks send their parts to the one that commits in this form."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Part:
        """Read what ``to_dict`` made.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        values = {field.name: raw[field.name] for field in dataclasses.fields(cls)}
        return cls(**{**values, "group_rows": tuple(int(rows) for rows in raw["group_rows"])})


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All of a result.

    Attributes:
        parts: in the order of the rows.
        schema: of every part.
        attempt: of the writer, so that two writers' documents always differ.
        details: what else the writer has to say, in JSON's types.
    """

    parts: tuple[Part, ...]
    schema: pa.Schema
    attempt: str
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)

    def to_json(self) -> str:
        """Return the document. ``columns`` is for people, ``schema`` for ``from_json``."""
        document = {
            "version": VERSION,
            "attempt": self.attempt,
            "rows": self.rows,
            "bytes": self.bytes,
            "columns": {field.name: str(field.type) for field in self.schema},
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "details": dict(self.details),
            "parts": [part.to_dict() for part in self.parts],
        }
        return json.dumps(document, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is none, or of a newer form.
        """
        try:
            raw = json.loads(text)
            if raw["version"] != VERSION:
                raise ValueError(
                    f"it is of form {raw['version']}, and this release of mlpools reads form {VERSION}"
                )
            return cls(
                parts=tuple(Part.from_dict(part) for part in raw["parts"]),
                schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(raw["schema"]))),
                attempt=str(raw["attempt"]),
                details=raw["details"],
            )
        except (KeyError, TypeError, pa.ArrowException) as error:
            raise ValueError(f"it is no manifest: {error!r}") from error
