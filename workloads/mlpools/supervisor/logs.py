"""Passes a worker's output on to the container's log and keeps the end of it."""

from __future__ import annotations

import os
import threading
from collections import deque

#: How much of each worker's output is saved beside the job's result.
KEPT_BYTES = 1_000_000
_CHUNK = 1 << 16


class Tail:
    """The last ``limit`` bytes of a stream. One thread writes it, any thread reads it."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, chunk: bytes) -> None:
        """Append, and forget what is too old."""
        with self._lock:
            self._chunks.append(chunk)
            self._size += len(chunk)
            while self._size - len(self._chunks[0]) >= self._limit:
                self._size -= len(self._chunks.popleft())

    def bytes(self) -> bytes:
        """Return what is kept; the first line may be cut."""
        with self._lock:
            return b"".join(self._chunks)[-self._limit :]


def pump(source: int, tail: Tail, sink: int = 1) -> threading.Thread:
    """Start a thread that copies a file descriptor to another one and to a tail, until the end of it.

    A container runtime that does not read makes the worker wait, as it would without us.
    """
    thread = threading.Thread(target=_copy, args=(source, tail, sink), daemon=True)
    thread.start()
    return thread


def _copy(source: int, tail: Tail, sink: int) -> None:
    with os.fdopen(source, "rb", buffering=0) as stream:
        while True:
            chunk = stream.read(_CHUNK)
            if not chunk:
                return
            tail.add(chunk)
            view = memoryview(chunk)
            while view:
                try:
                    view = view[os.write(sink, view) :]
                except OSError:  # the log is gone; the tail still matters
                    break


def say(text: str) -> None:
    """Write one line of the supervisor's own to the container's log."""
    os.write(1, f"mlpools: {text}\n".encode())
