"""Local files behind URLs: found once, and noticed if they change."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.fs

from mlpools.errors import DataNotReadable, one_line
from mlpools.locations import local_path

_WILD = frozenset("*?[")


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """One file as it was when it was listed.

    Attributes:
        url: absolute path.
        size: bytes.
        version: changes when the file is written anew.
    """

    url: str
    size: int
    version: str


def match(urls: Sequence[str], suffixes: Sequence[str] = ()) -> list[FileInfo]:
    """Return the files of URLs, sorted.

    Args:
        urls: files, folders (every file below that has one of the suffixes) or globs (``**`` crosses
            folders).
        suffixes: of files that a folder's URL means; all without.

    Raises:
        DataNotReadable: a URL matches nothing, or cannot be listed.
    """
    system = pa.fs.LocalFileSystem()
    found: dict[str, FileInfo] = {}
    for url in urls:
        try:
            path = str(local_path(url, "data url"))
            files = _glob(system, path) if _WILD & set(path) else _expand(system, path, tuple(suffixes))
        except (OSError, ValueError) as error:
            raise DataNotReadable(f"{url} cannot be listed: {one_line(error)}.") from error
        if not files:
            kinds = f" with the suffix {' or '.join(suffixes)}" if suffixes else ""
            raise DataNotReadable(
                f"{url} is not there or holds no file{kinds}; check the path and the mount."
            )
        found.update((item.path, FileInfo(item.path, item.size, str(item.mtime_ns))) for item in files)
    return [found[path] for path in sorted(found)]


def open_file(file: FileInfo) -> pa.NativeFile:
    """Open a file for reading at random places.

    Raises:
        FileNotFoundError: it is gone.
        FileExistsError: it is another one than when it was listed.
        OSError: it cannot be read.
    """
    status = Path(file.url).stat()
    if (status.st_size, str(status.st_mtime_ns)) != (file.size, file.version):
        raise FileExistsError(file.url)
    return pa.OSFile(file.url)


def _expand(system: pa.fs.FileSystem, path: str, suffixes: tuple[str, ...]) -> list[pa.fs.FileInfo]:
    info = system.get_file_info(path)
    if info.type == pa.fs.FileType.Directory:
        return [item for item in _walk(system, path) if not suffixes or item.path.endswith(suffixes)]
    return [info] if info.type == pa.fs.FileType.File else []


def _glob(system: pa.fs.FileSystem, pattern: str) -> list[pa.fs.FileInfo]:
    parts = PurePosixPath(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if _WILD & set(part))
    base = str(PurePosixPath(*parts[:fixed]))
    wanted = parts[fixed:]
    return [
        item
        for item in _walk(system, base)
        if _parts_match(PurePosixPath(item.path).relative_to(base).parts, wanted)
    ]


def _walk(system: pa.fs.FileSystem, base: str) -> list[pa.fs.FileInfo]:
    """Return all files below a folder. As everywhere, names with ``_`` or ``.`` in front are not data."""
    if system.get_file_info(base).type != pa.fs.FileType.Directory:
        return []
    items = system.get_file_info(pa.fs.FileSelector(base, recursive=True))
    return [
        item
        for item in items
        if item.type == pa.fs.FileType.File
        and not any(part[0] in "_." for part in PurePosixPath(item.path).relative_to(base).parts)
    ]


def _parts_match(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_parts_match(parts[i:], wanted[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _parts_match(parts[1:], wanted[1:])
