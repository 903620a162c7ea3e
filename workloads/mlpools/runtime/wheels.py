"""Wheels that were downloaded once, kept in the pool's cache for its other pods.

They are known by their checksums, which rank 0 got from the index. So a file that is cut off, damaged or put
there by somebody else is not the one that was asked for: it is thrown away and downloaded again.

uv's own cache would not do on a volume that jobs share. It holds unpacked files, which nobody checks again,
grows without bounds, and has thousands of small files where network file systems like a few large ones.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from mlpools import budgets
from mlpools.runtime.pinned import Wheel
from mlpools.storage.shelf import Shelf
from mlpools.train.reporter import log

#: Of what the pool allows for its cache, which is for data first of all.
_SHARE = 0.2
_CHUNK = 1 << 20
_AT_A_TIME = 8


class Wheels:
    """The wheels of a cache folder.

    Attributes:
        folder: below the pod's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or budgets.cache_folder() / "wheels"
        self._shelf = Shelf(self.folder, _SHARE)

    def lay_out(self, wheels: Sequence[Wheel], target: Path, fetch: Callable[[Wheel, Path], bool]) -> None:
        """Put wheels into a folder: copies of those that are kept, and the rest downloaded, and kept then.

        Args:
            wheels: that are wanted.
            target: an empty folder.
            fetch: downloads a wheel to a path and says whether it is there. What it cannot have is left out.
        """

        def lay(wheel: Wheel) -> None:
            path = target / wheel.file
            if not self._copy(wheel, path) and fetch(wheel, path):
                self._keep(wheel, path)

        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lay, wheels))

    def _keep(self, wheel: Wheel, path: Path) -> None:
        def write(file: BinaryIO) -> None:
            with path.open("rb") as downloaded:
                shutil.copyfileobj(downloaded, file, _CHUNK)

        self._shelf.put(wheel.sha256, path.stat().st_size, write)

    def _copy(self, wheel: Wheel, target: Path) -> bool:
        found = self._shelf.find(wheel.sha256)
        if found is None:
            return False
        checksum = hashlib.sha256()
        try:
            with found.open("rb") as kept, target.open("wb") as copy:
                while chunk := kept.read(_CHUNK):
                    checksum.update(chunk)
                    copy.write(chunk)
        except FileNotFoundError:  # given up for another one meanwhile
            return False
        if checksum.hexdigest() == wheel.sha256:
            return True
        log(f"{wheel.file} is damaged in the pool's cache and is downloaded again")
        self._shelf.drop(wheel.sha256)
        target.unlink()
        return False
