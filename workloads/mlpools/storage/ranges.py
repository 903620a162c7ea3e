"""Byte ranges of remote objects: which requests to make, and their bytes whatever breaks in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from mlpools.errors import DataNotReadable
from mlpools.storage import client, failures
from mlpools.storage.info import FileInfo
from mlpools.storage.urls import parse

Range = tuple[int, int]
T = TypeVar("T")

#: Ranges closer than this are read as one: reading the gap is quicker than another request.
GAP_BYTES = 1 << 20
#: One connection is slower than the network: larger ranges are fetched in pieces side by side.
PIECE_BYTES = 8 << 20
#: Each holds a piece in memory.
_CONNECTIONS = 8
_CHUNK_BYTES = 1 << 20
_BY_TIME = "modified"

_pool: ThreadPoolExecutor | None = None


def coalesce(ranges: Iterable[Range], gap: int = GAP_BYTES) -> list[Range]:
    """Return the ranges sorted, and joined where they overlap or lie closer than ``gap``; no empty ones."""
    joined: list[Range] = []
    for start, stop in sorted(part for part in ranges if part[0] < part[1]):
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def pieces(ranges: Iterable[Range], size: int = PIECE_BYTES) -> Iterator[Range]:
    """Yield the ranges cut into pieces of at most ``size`` bytes, nearly equal ones for each range."""
    for start, stop in ranges:
        count = -(-(stop - start) // size)
        borders = [start + (stop - start) * i // count for i in range(count + 1)]
        yield from zip(borders, borders[1:])


def submit(work: Callable[..., T], *args: object) -> Future[T]:
    """Do some fetching in the background; it must not wait for other such work."""
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mlpools-storage")
    return _pool.submit(work, *args)


def fetch(info: FileInfo, start: int, stop: int) -> bytearray:
    """Return the bytes ``start`` to ``stop`` (exclusive) of the object as it was listed.

    A connection that breaks in the middle is made anew, and goes on at the byte where it broke.

    Raises:
        DataNotReadable: the object is gone, was replaced, or the store does not answer in time.
    """
    address = parse(info.url)
    content, filled = bytearray(stop - start), 0
    deadline = time.monotonic() + client.patience()
    while filled < len(content):
        before = filled
        try:
            for chunk in _chunks(info, start + filled, stop):
                content[filled : filled + len(chunk)] = chunk
                filled += len(chunk)
        except DataNotReadable:
            raise
        except Exception as error:
            if not failures.broken_off(error) or (filled == before and time.monotonic() > deadline):
                raise failures.reading(error, address) from error
        else:
            if filled < len(content):
                raise failures.replaced(info.url)
        if filled == before:
            time.sleep(0.1)
        else:
            deadline = time.monotonic() + client.patience()
    return content


def _chunks(info: FileInfo, start: int, stop: int) -> Iterator[memoryview]:
    address = parse(info.url)
    options: dict[str, object] = {"range": (start, stop)}
    if not info.version.startswith(("W/", _BY_TIME)):  # a weak ETag never equals itself here
        options["if_match"] = f'"{info.version}"'
    answer = client.library().get(client.store(address), address.key, options=options)
    if version_of(answer.meta) != info.version:
        raise failures.replaced(info.url)
    for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
        yield memoryview(chunk)


def version_of(meta: dict[str, object]) -> str:
    """Return what changes when the object does: its ETag, else when it was last written.

    Azure writes the quotation marks of ETags in answers, but not in listings.
    """
    etag = meta["e_tag"]
    return str(etag).strip('"') if etag else f"{_BY_TIME} {meta['last_modified']}"


def _forget_pool() -> None:
    """Have a forked child start threads of its own."""
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_forget_pool)
