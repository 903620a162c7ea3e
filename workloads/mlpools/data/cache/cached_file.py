"""Remote objects through the file cache, as files for Arrow."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from mlpools.data.cache.entry import BLOCK_BYTES, Entry
from mlpools.data.cache.files import FileCache
from mlpools.errors import one_line
from mlpools.storage import FileInfo, locate, ranges
from mlpools.storage.native import NativeFile
from mlpools.storage.ranges import Range
from mlpools.storage.remote_file import RemoteFile, Store


def open_cached(info: FileInfo, cache: FileCache | None) -> pa.NativeFile:
    """Open a file; what is read from a remote one is kept in the cache, and taken from there.

    Raises:
        DataNotReadable: it is gone or was replaced; a remote one tells that when it is read from its store.
    """
    place = locate(info.url)
    opened = cache.open(info) if cache is not None and place.local is None else None
    if cache is None or opened is None:
        return place.open(info)
    return NativeFile(RemoteFile(info, _Cached(info, cache, opened)))


class _Cached:
    """The bytes of an entry of the cache; those that cannot be kept come from the store."""

    def __init__(self, info: FileInfo, cache: FileCache, opened: Entry) -> None:
        self._info = info
        self._cache = cache
        self._entry = opened
        self._store = Store(info)
        self._next = 0
        self._window = BLOCK_BYTES

    def prefetch(self, wanted: Iterable[Range]) -> None:
        """Begin to fetch what is not there; several files of one object share the work."""
        for start, stop in ranges.coalesce(wanted):
            for first, end in self._entry.missing(start, stop):
                ranges.submit(self._fetch, first, end)

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes of the entry, fetched first where they are missing."""
        onward = start == self._next
        self._window = min(self._window * 2, ranges.PIECE_BYTES) if onward else BLOCK_BYTES
        self._next = stop
        if self._entry.missing(start, stop):
            ahead = self._entry.missing(start, min(max(stop, start + self._window), self._info.size))
            under_way = [ranges.submit(self._fetch, *run) for run in ahead]
            kept = [fetch.result() for fetch in under_way]
            if not all(kept):
                return self._store.read(start, stop)
        content = self._entry.read(start, stop)
        return content if len(content) == stop - start else self._store.read(start, stop)

    def _fetch(self, first: int, end: int) -> bool:
        """Fetch blocks and keep them; False where there is no room or the disk refuses."""
        try:
            with self._entry.held() as held, self._cache.room((end - first) * BLOCK_BYTES) as room:
                if held and room:
                    self._entry.fetch(first, end)
                    return True
        except OSError as error:
            if error.errno is None:
                raise
            self._cache.say(one_line(error))
        return False

    def close(self) -> None:
        """Give the entry back."""
        self._cache.close(self._entry)
