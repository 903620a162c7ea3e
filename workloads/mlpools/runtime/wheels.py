"""Wheels that were downloaded once, kept in the pool's cache for its other pods.

They are known by their checksums, which rank 0 got from the index. So a file that is cut off, damaged or put
there by somebody else is not the one that was asked for: it is thrown away and downloaded again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from mlpools import budgets
from mlpools.runtime.pinned import Pinned
from mlpools.storage.shelf import Shelf
from mlpools.train.reporter import log

#: Of what the pool allows for its cache, which is for data first of all.
_SHARE = 0.2
_CHUNK = 1 << 20


class Wheels:
    """The wheels of a cache folder.

    Attributes:
        folder: below the pod's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or budgets.cache_folder() / "wheels"
        self._shelf = Shelf(self.folder, _SHARE)

    def take(self, pinned: Sequence[Pinned], target: Path) -> list[Pinned]:
        """Copy what is there into a folder, under the names that pip expects, and return what is not."""
        return [package for package in pinned if not self._copy(package, target / package.file)]

    def keep(self, pinned: Sequence[Pinned], source: Path) -> None:
        """Keep wheels that were downloaded into a folder and checked there, as far as there is room."""
        for package in pinned:
            path = source / package.file

            def write(file: BinaryIO, path: Path = path) -> None:
                with path.open("rb") as downloaded:
                    shutil.copyfileobj(downloaded, file, _CHUNK)

            self._shelf.put(package.sha256, path.stat().st_size, write)

    def _copy(self, package: Pinned, target: Path) -> bool:
        found = self._shelf.find(package.sha256)
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
        if checksum.hexdigest() == package.sha256:
            return True
        log(f"{package.file} is damaged in the pool's cache and is downloaded again")
        self._shelf.drop(package.sha256)
        target.unlink()
        return False
