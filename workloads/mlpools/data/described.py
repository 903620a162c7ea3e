"""What a person sees of data who prints it: sources, rows, columns and size; never a secret."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence

import pyarrow as pa

_SHOWN_SOURCES = 2
_SHOWN_COLUMNS = 6
_HTML_COLUMNS = 40


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known of data without reading it.

    Attributes:
        kind: such as ``DataConnector``.
        sources: where it comes from, each a short text.
        schema: names and types of the columns.
        rows: None where nobody has counted them.
        files: number of files, None where there are none.
        size: bytes as they are stored.
    """

    kind: str
    sources: Sequence[str]
    schema: pa.Schema
    rows: int | None
    files: int | None = None
    size: int | None = None

    @property
    def facts(self) -> str:
        """Rows, columns, files and size, in one line."""
        parts = ["rows not counted" if self.rows is None else counted(self.rows, "row")]
        parts.append(counted(len(self.schema), "column"))
        if self.files is not None:
            parts.append(counted(self.files, "file"))
        if self.size is not None:
            parts.append(in_bytes(self.size))
        return ", ".join(parts)

    def text(self) -> str:
        """Return one line."""
        return f"<{self.kind} of {_some(self.sources, _SHOWN_SOURCES)}: {self.facts}>"

    def html(self) -> str:
        """Return the same with the columns, for notebooks."""
        rows = "".join(
            f"<tr><td>{html.escape(field.name)}</td><td>{html.escape(str(field.type))}</td></tr>"
            for field in list(self.schema)[:_HTML_COLUMNS]
        )
        more = len(self.schema) - _HTML_COLUMNS
        rest = f"<tr><td>… {more} more</td><td></td></tr>" if more > 0 else ""
        sources = html.escape(_some(self.sources, _SHOWN_SOURCES))
        return f"<b>{self.kind}</b> of {sources}: {self.facts}<table>{rows}{rest}</table>"


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown: without a user before the host, and without HTTP's query."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("/")
    user, _, server = host.rpartition("@")
    # In abfs://container@account… it is no user.
    shown = host if scheme.startswith("abfs") and ":" not in user else server
    shown = f"{scheme}://{shown}{slash}{path}"
    return shown.partition("?")[0] if scheme in ("http", "https") else shown


def counted(number: int, what: str) -> str:
    """Return such as ``1 row`` or ``2,000 rows``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def in_bytes(size: int) -> str:
    """Return a size as people write it, such as ``1.5 GiB``."""
    if size < 1024:
        return counted(size, "byte")
    value, unit = float(size), 0
    while value >= 1024 and unit < 4:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {' KMGT'[unit]}iB"


def _some(names: Sequence[str], most: int) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
