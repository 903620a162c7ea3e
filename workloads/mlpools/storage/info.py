"""What is known of a file without reading it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, order=True)
class FileInfo:
    """One file or object, as it was when it was listed.

    Attributes:
        url: a URL, or the absolute path of a local file.
        size: bytes.
        version: changes when the content does: an object's ETag, else the time of its last change; a
            local file's time of change in nanoseconds.
    """

    url: str
    size: int
    version: str
