"""Remote files as Arrow's own kind of file."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from mlpools.storage.ranges import Range
from mlpools.storage.remote_file import RemoteFile


class NativeFile(pa.PythonFile):  # type: ignore[misc]
    """A remote file that can be told what will be read next."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file

    def prefetch(self, wanted: Iterable[Range]) -> None:
        """Begin to fetch ranges of bytes in the background."""
        self._file.prefetch(wanted)
