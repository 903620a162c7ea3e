"""What data is made of, before anything of it was read."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs

from mlpools.errors import DataNotReadable, InvalidSpec, one_line
from mlpools.locations import local_path

_WILD = frozenset("*?[")


@dataclasses.dataclass(frozen=True)
class ParquetSource:
    """Parquet files.

    Attributes:
        urls: files, folders (every ``*.parquet`` below) or globs (``**`` crosses folders), each a
            ``file://`` URL or an absolute path.
    """

    urls: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ArrowSource:
    """A table in memory."""

    table: pa.Table


DataSource = ParquetSource | ArrowSource


def from_spec(name: str, raw: Mapping[str, Any]) -> ParquetSource:
    """Read one source of a job's ``spec.data``.

    Raises:
        InvalidSpec: it names no known format, or no URL.
    """
    parquet = raw.get("parquet")
    given = (parquet.get("url") or parquet.get("urls")) if isinstance(parquet, Mapping) else None
    if not given:
        raise InvalidSpec(f"data.{name} needs parquet.url or parquet.urls.")
    return ParquetSource((given,) if isinstance(given, str) else tuple(given))


def as_sources(given: DataSource | str | Sequence[DataSource | str]) -> tuple[DataSource, ...]:
    """Return sources for what a caller may write: a path is a Parquet source."""
    items = (given,) if isinstance(given, str | ParquetSource | ArrowSource) else tuple(given)
    return tuple(ParquetSource((item,)) if isinstance(item, str) else item for item in items)


def list_files(source: ParquetSource) -> tuple[pa.fs.FileSystem, list[tuple[str, int]]]:
    """Return the file system and the sorted ``(path, bytes)`` of all files of a source.

    Raises:
        DataNotReadable: a URL matches nothing, or cannot be listed.
    """
    system = pa.fs.LocalFileSystem()
    found: dict[str, int] = {}
    for url in source.urls:
        try:
            path = str(local_path(url, "data url"))
            files = _match(system, path) if _WILD & set(path) else _expand(system, path)
        except (OSError, ValueError) as error:
            raise DataNotReadable(f"{url} cannot be listed: {one_line(error)}") from error
        if not files:
            raise DataNotReadable(
                f"{url} is not there or holds no Parquet file; check the path and the mount."
            )
        found.update(files)
    return system, sorted(found.items())


def _expand(system: pa.fs.FileSystem, path: str) -> dict[str, int]:
    info = system.get_file_info(path)
    if info.type == pa.fs.FileType.Directory:
        return {item.path: item.size for item in _walk(system, path) if item.path.endswith(".parquet")}
    return {path: info.size} if info.type == pa.fs.FileType.File else {}


def _match(system: pa.fs.FileSystem, pattern: str) -> dict[str, int]:
    parts = PurePosixPath(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if _WILD & set(part))
    base = str(PurePosixPath(*parts[:fixed]))
    wanted = parts[fixed:]
    return {
        item.path: item.size
        for item in _walk(system, base)
        if _parts_match(PurePosixPath(item.path).relative_to(base).parts, wanted)
    }


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
