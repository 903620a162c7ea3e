"""Decodes the next pieces while the last one is being used."""

from __future__ import annotations

import collections
import threading
from collections.abc import Generator, Iterator
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What takes memory, as a table does."""

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""


T = TypeVar("T", bound=Sized)


def read_ahead(tables: Iterator[T], budget: int) -> Generator[T, None, None]:
    """Yield the same tables in order, made by a thread that is ahead of the consumer.

    The thread begins another table only if those that wait, and one more like the last, fit the budget,
    or if none waits: so there are never more than one in use, one that waits and one in the making
    when each of them exceeds the budget. Closing this iterator stops the thread and waits for it.

    Args:
        tables: closed by the thread that runs them.
        budget: bytes.
    """
    shelf: _Shelf[T] = _Shelf(budget)
    thread = threading.Thread(target=shelf.fill, args=(tables,), name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            table = shelf.take()
            if table is None:
                return
            yield table
            del table
    finally:
        shelf.close()
        thread.join()


class _Shelf(Generic[T]):
    """Tables that are read and not yet used."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._changed = threading.Condition()
        self._tables: collections.deque[T] = collections.deque()
        self._bytes = 0
        self._last = 0
        self._closed = False
        self._finished = False
        self._error: BaseException | None = None

    def fill(self, tables: Iterator[T]) -> None:
        """Put tables here until there are no more or nobody wants them."""
        try:
            for table in tables:
                size = table.nbytes
                with self._changed:
                    self._tables.append(table)
                    self._bytes += size
                    self._last = size
                    del table
                    self._changed.notify_all()
                    self._changed.wait_for(self._has_room)
                    if self._closed:
                        return
        except BaseException as error:  # it is the consumer's to handle, whatever it is
            self._error = error
        finally:
            close = getattr(tables, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def take(self) -> T | None:
        """Return the next table, or None after the last; raises what its making raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._tables or self._finished)
            if self._tables:
                table = self._tables.popleft()
                self._bytes -= table.nbytes
                self._changed.notify_all()
                return table
            if self._error is not None:
                raise self._error
            return None

    def close(self) -> None:
        """Tell the thread that nobody wants more."""
        with self._changed:
            self._closed = True
            self._tables.clear()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._closed or not self._tables or self._bytes + self._last <= self._budget
