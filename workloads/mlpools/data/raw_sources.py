"""Files without columns: bytes, texts and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from mlpools.data import filters, formats, schemas
from mlpools.data.files import plan_files, reading
from mlpools.data.packs import PATH, load, pack
from mlpools.data.plan import Plan, Plannable, Selection
from mlpools.data.progress import listing
from mlpools.data.sources import texts
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.storage import FileInfo, match


@dataclasses.dataclass(frozen=True)
class RawSource(Selection):
    """Files without columns.

    Attributes:
        urls: files, folders or globs.
        file_pattern: only files whose path ends in one of these patterns, such as ``*.jpg`` or
            ``train/*.jpg``; without, a folder gives the files with the suffixes of their kind.
        include_paths: also give the URL of each row's file, in column ``path``.
    """

    urls: tuple[str, ...]
    file_pattern: tuple[str, ...] = ()
    include_paths: bool = False


@dataclasses.dataclass(frozen=True)
class LinesSource(RawSource):
    """Lines of text files, in column ``text``."""

    def plan(self) -> Plan:
        """List the files; lines are counted only if somebody needs their number."""
        found = listed(self.urls, self.file_pattern, formats.make("text", {}).suffixes)
        return plan_files(
            found,
            "text",
            constants=[{PATH: info.url} for info in found] if self.include_paths else (),
            types=pa.schema([(PATH, pa.string())]) if self.include_paths else None,
            selection=self,
        )


@dataclasses.dataclass(frozen=True)
class WholeFileSource(RawSource):
    """Files that are one row each.

    Attributes:
        content: name of one of ``formats.CONTENTS``.
        options: of the content.
    """

    content: str = "binary"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def plan(self) -> Plan:
        """List the files. The first one may be read; filter and limit choose among the paths.

        Raises:
            DataNotReadable: no file fits, or the first one cannot be decoded.
            InvalidSpec: an option makes no sense, or the filter looks at more than ``path``.
        """
        content = formats.make_content(self.content, self.options)
        found = self._chosen(listed(self.urls, self.file_pattern, content.suffixes))[: self.limit]
        with reading(found[0].url):
            content = content.settled(load(found[0]))
        whole = pa.schema([content.field, (PATH, pa.large_string())])
        given = self.columns or (whole.names if self.include_paths else [content.field.name])
        return Plan(
            files=tuple(pack(found, self.content, content)),
            schema=schemas.select(whole, given, "The data"),
            options={self.content: content.options()},
        )

    def _chosen(self, found: list[FileInfo]) -> list[FileInfo]:
        """Return the files whose path passes the filter."""
        if not self.filter:
            return found
        predicate = filters.parse(self.filter)
        if predicate.columns != {PATH}:
            raise InvalidSpec(f"The filter {self.filter!r} can only look at path: the files have no columns.")
        paths = pa.table({PATH: [info.url for info in found], "place": range(len(found))})
        passed = paths.filter(predicate.expression(paths.schema)).column("place").to_pylist()
        if not passed:
            raise DataNotReadable(f"No file passes the filter {self.filter!r}; one is {found[0].url}.")
        return [found[place] for place in passed]


def binary(url: str | Sequence[str], **choice: Any) -> Plannable:
    """Return files that are one row each as their bytes; ``choice`` is what else a ``RawSource`` has."""
    return WholeFileSource(texts(url), content="binary", **_choice(choice))


def text(url: str | Sequence[str], whole_files: bool, encoding: str, **choice: Any) -> Plannable:
    """Return text files: a row is a line, or a file.

    Raises:
        InvalidSpec: lines are of another encoding than UTF-8.
    """
    if whole_files:
        options = {"encoding": encoding}
        return WholeFileSource(texts(url), content="document", options=options, **_choice(choice))
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "ascii"):
        raise InvalidSpec(
            f"Lines are read as UTF-8, not {encoding!r}: convert the files, or use whole_files=True."
        )
    return LinesSource(texts(url), **_choice(choice))


def images(
    url: str | Sequence[str], image_size: tuple[int, int] | None, image_mode: str, **choice: Any
) -> Plannable:
    """Return pictures that are one row each as their pixels."""
    options = {"size": image_size, "mode": image_mode}
    return WholeFileSource(texts(url), content="image", options=options, **_choice(choice))


def listed(
    url: str | Sequence[str], file_pattern: str | Sequence[str], suffixes: Sequence[str] = ()
) -> list[FileInfo]:
    """Return the files of URLs, sorted.

    Args:
        url: files, folders or globs.
        file_pattern: only files whose path ends in one of these patterns.
        suffixes: of the files that a folder's URL means without a pattern; all if there are none.

    Raises:
        DataNotReadable: there is none.
    """
    urls, patterns = texts(url), texts(file_pattern)
    if not patterns:
        return match(urls, suffixes, watch=listing)
    found = match(urls, watch=listing)
    chosen = [info for info in found if any(PurePosixPath(info.url).match(one) for one in patterns)]
    if not chosen:
        raise DataNotReadable(
            f"None of the {len(found):,} files of {', '.join(urls)} fits file_pattern "
            f"{' or '.join(patterns)}; one of them is {found[0].url}."
        )
    return chosen


def _choice(given: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: texts(given[name]) for name in ("file_pattern", "columns") if given.get(name)}
    return {**given, **lists}
