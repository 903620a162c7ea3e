"""A local file for writing that knows the digest of what was written."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class HashingFile(io.FileIO):
    """A new file.

    Attributes:
        digest: SHA-256 of all that was written so far.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w")
        self.digest = hashlib.sha256()

    def write(self, data: ReadableBuffer) -> int:
        """Write all of some bytes."""
        self.digest.update(data)
        view = memoryview(data).cast("B")
        written = 0
        while written < len(view):  # a raw file may take less than all
            written += super().write(view[written:]) or 0
        return written
