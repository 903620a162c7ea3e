"""``Location``: one place in a file system or a store."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlpools.storage import local, urls
from mlpools.storage.info import FileInfo

if TYPE_CHECKING:
    import pyarrow as pa


class Backend(Protocol):
    """What a kind of storage can do at one place; ``Location`` has the meaning of each word."""

    def info(self) -> FileInfo: ...
    def exists(self) -> bool: ...
    def walk(self, *, hidden: bool) -> Iterator[FileInfo]: ...
    def read(self) -> bytes: ...
    def read_range(self, start: int, stop: int) -> bytes: ...
    def open(self, info: FileInfo) -> pa.NativeFile: ...
    def write(self, data: bytes, *, once: bool) -> None: ...
    def write_file(self, path: Path, *, once: bool) -> None: ...
    def take(self, path: Path) -> None: ...
    def delete(self) -> None: ...
    def delete_tree(self) -> None: ...
    def honours_once(self) -> bool: ...


@dataclasses.dataclass(frozen=True, order=True)
class Location:
    """A file, an object or a folder; it need not be there. Make it with ``locate``.

    It holds nothing but its URL: credentials are looked up in the environment when something is read.
    Whatever fails is one sentence: ``DataNotReadable`` (``FileMissing`` if it is not there) when reading,
    ``OutputNotWritable`` when writing or deleting.

    Attributes:
        url: a URL, or the absolute path of a local place.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def local(self) -> Path | None:
        """The path of a local place; None for a remote one."""
        return None if "://" in self.url else Path(self.url)

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def parent(self) -> Location:
        """The folder that holds it; the root of a store is its own."""
        if self.local is not None:
            return Location(str(self.local.parent))
        address = urls.parse(self.url)
        return Location(address.url_of(posixpath.dirname(address.key)))

    def child(self, name: str) -> Location:
        """Return a place below this one; ``name`` may have several parts.

        Raises:
            ValueError: the name leads out of this place.
        """
        parts = [part for part in name.split("/") if part]
        if not parts or any(part in (".", "..") for part in parts):
            raise ValueError(f"{name!r} is no name below {self.url}.")
        if self.local is not None:
            return Location(str(self.local.joinpath(*parts)))
        address = urls.parse(self.url)
        return Location(address.url_of("/".join(part for part in (address.key, *parts) if part)))

    def info(self) -> FileInfo:
        """Return size and version of the file.

        Raises:
            FileMissing: it is not there, or is a folder.
        """
        return self._backend.info()

    def exists(self) -> bool:
        """Whether the file, or anything below the folder, is there."""
        return self._backend.exists()

    def list(self, *, hidden: bool = False) -> Sequence[FileInfo]:
        """Return all files below this folder, in all depths, sorted by URL; none if it is not there.

        Args:
            hidden: also those with a part of the name that starts with ``_`` or ``.``; as everywhere,
                they are not data.
        """
        return sorted(self.walk(hidden=hidden))

    def walk(self, *, hidden: bool = False) -> Iterator[FileInfo]:
        """Yield the same files as they are found, in any order: a long listing can be watched."""
        return self._backend.walk(hidden=hidden)

    def read(self) -> bytes:
        """Return all of the file."""
        return self._backend.read()

    def read_range(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop`` (exclusive); fewer where the file ends before."""
        return self._backend.read_range(start, stop)

    def open(self, info: FileInfo) -> pa.NativeFile:
        """Open the file for random access, as it was when ``info`` was made.

        Reading from it raises ``DataNotReadable`` when the object was replaced since.
        """
        return self._backend.open(info)

    def write(self, data: bytes, *, once: bool = False) -> None:
        """Write the file atomically and durably: a reader sees all of it or what was there before.

        Args:
            data: all of the content.
            once: only if it is not there. Of several writers one succeeds, on stores that honour it
                (``honours_once``). A write that succeeded and whose answer was lost counts as a success.

        Raises:
            FileExistsError: with ``once``, and somebody else's file is there.
        """
        self._backend.write(data, once=once)

    def write_file(self, path: Path, *, once: bool = False) -> None:
        """Write the content of a local file, which may be larger than memory unless ``once`` is set."""
        self._backend.write_file(path, once=once)

    def take(self, path: Path) -> None:
        """Make a local file, which is given away, this one, atomically and only if it is not there.

        On a volume nothing is copied, so the file has to lie on the same one.

        Raises:
            FileExistsError: somebody else's file is there; the local one stays.
        """
        self._backend.take(path)

    def delete(self) -> None:
        """Delete the file, if it is there."""
        self._backend.delete()

    def delete_tree(self) -> None:
        """Delete everything below this folder, hidden names too."""
        self._backend.delete_tree()

    def honours_once(self) -> bool:
        """Find out, by two small writes in this folder, whether ``once`` is kept here.

        Some stores that speak S3's protocol ignore the condition and replace what is there.
        """
        return self._backend.honours_once()

    @property
    def _backend(self) -> Backend:
        if self.local is not None:
            return local.LocalPlace(self.local)
        from mlpools.storage.remote import RemotePlace  # its libraries are for those who read remotely

        return RemotePlace(self.url)


def locate(url: str | Path) -> Location:
    """Return the place that a URL or a path means.

    Args:
        url: ``/path``, ``file:///path``, ``s3://bucket/key``, ``gs://bucket/key``, ``az://container/key``,
            ``abfs[s]://container@account.dfs.core.windows.net/key``, or ``http[s]://host/path``.

    Raises:
        InvalidSpec: it is none of these, or has credentials in it.
    """
    return Location(urls.canonical(str(url)))
