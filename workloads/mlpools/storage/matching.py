"""Which files URLs mean: one file, all below a folder, or what a glob matches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from mlpools.errors import DataNotReadable
from mlpools.storage.info import FileInfo
from mlpools.storage.location import Location, locate

_WILD = frozenset("*?[")
#: Passes files on as they are found.
Watch = Callable[[Iterable[FileInfo]], Iterator[FileInfo]]


def match(urls: str | Sequence[str], suffixes: Sequence[str] = (), *, watch: Watch = iter) -> list[FileInfo]:
    """Return the files that URLs mean, each once, sorted by URL.

    Args:
        urls: each a file, a folder (all files below it) or a glob (``**`` crosses folders). Names that
            start with ``_`` or ``.`` are not data, unless a file is named outright.
        suffixes: of a folder only the files whose name ends with one of these, such as ``.parquet``.
        watch: is given the files of a listing while it is under way, and passes them on.

    Raises:
        DataNotReadable: a URL matches nothing, or cannot be listed.
        InvalidSpec: a URL is none that can be used.
    """
    found: dict[str, FileInfo] = {}
    for url in (urls,) if isinstance(urls, str) else urls:
        files = _matched(url, watch) if _is_glob(url) else _named(locate(url), tuple(suffixes), watch)
        if not files:
            kind = f"{' or '.join(suffixes)} file" if suffixes else "file"
            raise DataNotReadable(
                f"{url} is not there or holds no {kind}; check the spelling, and that the job sees the place."
            )
        found.update((file.url, file) for file in files)
    return sorted(found.values())


def _is_glob(url: str) -> bool:
    return bool(_WILD & set(url))


def _named(location: Location, suffixes: tuple[str, ...], watch: Watch) -> Sequence[FileInfo]:
    try:
        return [location.info()]
    except FileNotFoundError:
        return [file for file in watch(location.walk()) if not suffixes or file.url.endswith(suffixes)]


def _matched(pattern: str, watch: Watch) -> Sequence[FileInfo]:
    """List the folder before the first wildcard, and keep what matches the rest."""
    parts = pattern.split("/")
    fixed = next(i for i, part in enumerate(parts) if _is_glob(part))
    base = locate("/".join(parts[:fixed]) or "/")
    wanted = [part for part in parts[fixed:] if part]
    start = len(base.url.rstrip("/")) + 1
    return [file for file in watch(base.walk()) if _fits(file.url[start:].split("/"), wanted)]


def _fits(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_fits(parts[i:], wanted[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])
