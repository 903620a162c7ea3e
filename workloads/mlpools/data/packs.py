"""Many small files: planned and read by packs, since each by itself costs more to handle than to read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from mlpools.data.cache.cached_file import open_cached
from mlpools.data.cache.files import FileCache
from mlpools.data.crew import Crew
from mlpools.data.files import reading
from mlpools.data.formats.whole import Content, byte_strings
from mlpools.data.plan import PlannedFile, Unit, common_names
from mlpools.storage import FileInfo, locate

PATH = "path"
#: A pack is the unit of shuffling and of reading ahead.
_PACK_BYTES = 32 << 20
_PACK_FILES = 1024


def pack(found: Sequence[FileInfo], kind: str, content: Content) -> Iterator[PlannedFile]:
    """Yield files in packs of bounded size, in order.

    Args:
        found: at least one.
        kind: name of the content's kind.
        content: of each file.
    """
    names = common_names([info.url for info in found])
    for start, stop in cut([content.row_bytes(info.size) for info in found], _PACK_BYTES, _PACK_FILES):
        yield _planned(found[start:stop], names[start:stop], kind)


def cut(sizes: Sequence[int], most_bytes: int, most_files: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of neighbours that stay within both limits; one that is larger is by itself."""
    start, total = 0, 0
    for i, size in enumerate(sizes):
        if i > start and (total + size > most_bytes or i - start == most_files):
            yield start, i
            start, total = i, 0
        total += size
    if start < len(sizes):
        yield start, len(sizes)


def _planned(members: Sequence[FileInfo], names: Sequence[str], kind: str) -> PlannedFile:
    digest = hashlib.sha256()
    for info, name in zip(members, names, strict=True):
        digest.update(json.dumps([name, info.size, info.version]).encode())
    return PlannedFile(
        url=members[0].url,
        name=names[0],
        size=sum(info.size for info in members),
        version="",
        digest=digest.hexdigest(),
        format=kind,
        units=(Unit(0, len(members), len(members)),),
        members=tuple(members),
    )


class PackReader:
    """Reads the files of a pack, several at a time."""

    def __init__(
        self,
        content: Content,
        members: Sequence[FileInfo],
        schema: pa.Schema,
        piece_bytes: int,
        files: FileCache | None = None,
    ) -> None:
        self._content = content
        self._members = members
        self._schema = schema
        self._piece_bytes = piece_bytes
        self._files = files
        self._crew = Crew(remote=locate(members[0].url).local is None)

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield one row a file, in pieces that fit the budget."""
        members = self._members[unit.start : unit.stop]
        sizes = [self._content.row_bytes(info.size) for info in members]
        for start, stop in cut(sizes, self._piece_bytes, _PACK_FILES):
            infos = members[start:stop]
            yield pa.Table.from_arrays(
                [
                    self._paths(infos) if name == PATH else self._contents(infos)
                    for name in self._schema.names
                ],
                names=self._schema.names,
            )

    def _paths(self, infos: Sequence[FileInfo]) -> pa.Array:
        return byte_strings([info.url.encode() for info in infos], pa.large_string())

    def _contents(self, infos: Sequence[FileInfo]) -> pa.Array:
        return self._content.array(self._crew.map(self._load, infos))

    def _load(self, info: FileInfo) -> Any:
        with reading(info.url):
            return self._content.decode(load(info, self._files))

    def close(self) -> None:
        """Stop what is under way."""
        self._crew.close()


def load(info: FileInfo, files: FileCache | None = None) -> bytes:
    """Return a file's bytes, as they were when it was listed; remote ones from the cache if it has them.

    Raises:
        DataNotReadable: it is gone or was replaced.
    """
    with open_cached(info, files) as file:
        data: bytes = file.read()
    return data
