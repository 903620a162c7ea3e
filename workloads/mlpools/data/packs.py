"""Many small files: planned and read by packs, since each by itself costs more to handle than to read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from mlpools.data.files import reading
from mlpools.data.formats.whole import Content, byte_strings
from mlpools.data.plan import PlannedFile, Unit, common_names
from mlpools.storage import FileInfo, locate

PATH = "path"
#: A pack is the unit of shuffling and of reading ahead.
_PACK_BYTES = 32 << 20
_PACK_FILES = 1024
#: Requests to a store that are under way; a small object is mostly waiting.
_REMOTE_THREADS = 32
#: Local files that a thread takes at a time; to hand out each by itself costs more than to read it.
_LOCAL_FILES = 32


def pack(found: Sequence[FileInfo], kind: str, content: Content) -> Iterator[PlannedFile]:
    """Yield files in packs of bounded size, in order.

    Args:
        found: at least one.
        kind: name of the content's kind.
        content: of each file.
    """
    names = common_names([info.url for info in found])
    start, size = 0, 0
    for i, info in enumerate(found):
        row = content.row_bytes(info.size)
        if i > start and (size + row > _PACK_BYTES or i - start == _PACK_FILES):
            yield _planned(found[start:i], names[start:i], kind)
            start, size = i, 0
        size += row
    yield _planned(found[start:], names[start:], kind)


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
        self, content: Content, members: Sequence[FileInfo], schema: pa.Schema, piece_bytes: int
    ) -> None:
        self._content = content
        self._members = members
        self._schema = schema
        self._piece_bytes = piece_bytes
        remote = locate(members[0].url).local is None
        self._step = 1 if remote else _LOCAL_FILES
        self._pool = ThreadPoolExecutor(_REMOTE_THREADS if remote else len(os.sched_getaffinity(0)))

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield one row a file, in pieces that fit the budget."""
        for infos in self._pieces(self._members[unit.start : unit.stop]):
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
        steps = (infos[i : i + self._step] for i in range(0, len(infos), self._step))
        return self._content.array([value for some in self._pool.map(self._load, steps) for value in some])

    def _pieces(self, members: Sequence[FileInfo]) -> Iterator[list[FileInfo]]:
        piece: list[FileInfo] = []
        size = 0
        for info in members:
            row = self._content.row_bytes(info.size)
            if piece and size + row > self._piece_bytes:
                yield piece
                piece, size = [], 0
            piece.append(info)
            size += row
        if piece:
            yield piece

    def _load(self, infos: Sequence[FileInfo]) -> list[Any]:
        values = []
        for info in infos:
            with reading(info.url):
                values.append(self._content.decode(load(info)))
        return values

    def close(self) -> None:
        """Stop what is under way."""
        self._pool.shutdown(cancel_futures=True)


def load(info: FileInfo) -> bytes:
    """Return a file's bytes, as they were when it was listed.

    Raises:
        DataNotReadable: it is gone or was replaced.
    """
    with locate(info.url).open(info) as file:
        data: bytes = file.read()
    return data
