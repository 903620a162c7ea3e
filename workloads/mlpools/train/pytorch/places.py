"""PyTorch's distributed checkpoints in any place that ``mlpools.storage`` reaches."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.filesystem import FileSystemBase

from mlpools.storage import FileMissing, Location, locate


class Places(FileSystemBase):  # type: ignore[misc]  # torch has no types here
    """File system of PyTorch's writers and readers.

    Attributes:
        digests: SHA-256 of every file that this rank wrote, by name.
    """

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    @contextlib.contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[IO[bytes]]:
        """Open a file."""
        place = locate(str(path))
        if "w" not in mode:
            yield self._reader(place)
            return
        with _writer(place) as path:
            with path.open("wb") as stream:
                yield stream
            with path.open("rb") as stream:  # PyTorch may have closed the other one
                self.digests[place.name] = hashlib.file_digest(stream, "sha256").hexdigest()

    def concat_path(self, path: str | os.PathLike[str], suffix: str) -> str:
        """Return the place below a folder."""
        return locate(str(path)).child(suffix).url

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        """Move a small file; object stores can only write it anew."""
        old, new = locate(str(path)), locate(str(new_path))
        new.write(old.read())
        old.delete()
        self.digests[new.name] = self.digests.pop(old.name)

    def init_path(self, path: str | os.PathLike[str]) -> str:
        """Return the place that a folder's name means."""
        return locate(str(path)).url

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        """Folders come with their files."""

    def exists(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file is there."""
        return locate(str(path)).exists()

    def rm_file(self, path: str | os.PathLike[str]) -> None:
        """Delete a file."""
        locate(str(path)).delete()

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether it is a place; those that are none were refused before."""
        return bool(str(checkpoint_id))

    @staticmethod
    def _reader(place: Location) -> IO[bytes]:
        if place.local is not None:
            try:
                return place.local.open("rb")
            except FileNotFoundError as error:
                raise FileMissing(f"{place} is not there.") from error
        # Readers ask for many slices of each file, and every slice would be a request of its own.
        return io.BytesIO(place.read())


def writer(folder: Location) -> tuple[FileSystemWriter, dict[str, str]]:
    """Return a writer into a folder, and the checksums that it will have noted."""
    made = FileSystemWriter(folder.url, overwrite=True)
    places = Places()
    made.fs, made.path = places, folder.url
    return made, places.digests


def reader(folder: Location) -> FileSystemReader:
    """Return a reader of what a writer wrote."""
    made = FileSystemReader(folder.url)
    made.fs, made.path = Places(), folder.url
    return made


@contextlib.contextmanager
def _writer(place: Location) -> Iterator[Path]:
    """Yield the path to write to: in a folder that counts only later, or until it is sent to a store."""
    if place.local is not None:
        place.local.parent.mkdir(parents=True, exist_ok=True)
        yield place.local
        return
    with tempfile.TemporaryDirectory(prefix="mlpools-") as folder:
        path = Path(folder) / place.name
        yield path
        place.write_file(path)
