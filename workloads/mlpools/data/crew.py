"""Threads for many small tasks: files to fetch, pictures to decode."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

#: Requests to a store that are under way; a small object is mostly waiting.
_REMOTE_THREADS = 32
#: Tasks that a thread takes at a time; to hand out each by itself costs more than to read a small file.
_STEP = 32


class Crew:
    """Threads that share out a list of tasks, and give the results in its order."""

    def __init__(self, *, remote: bool = False) -> None:
        """Make a crew.

        Args:
            remote: the tasks wait for a store, and need no processor.
        """
        self._step = 1 if remote else _STEP
        self._pool = ThreadPoolExecutor(_REMOTE_THREADS if remote else len(os.sched_getaffinity(0)))

    def map(self, task: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Return the result of each item, in order; what a task raises is raised."""
        steps = (items[i : i + self._step] for i in range(0, len(items), self._step))
        return [
            result for some in self._pool.map(lambda step: [task(i) for i in step], steps) for result in some
        ]

    def close(self) -> None:
        """Stop what is under way."""
        self._pool.shutdown(cancel_futures=True)
