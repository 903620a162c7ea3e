"""Which epoch comes next: counted in one process, or in a file that the workers of a loader share."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing.context
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlpools.storage.alone import alone_with

#: Iterations that can overlap and still be told from one another.
_REMEMBERED = 64


class Clock:
    """Counts the epochs of one process."""

    #: Whether other processes iterate, so that this one does not know how far they are.
    elsewhere = False

    def __init__(self) -> None:
        self._next, self._resumes = 0, False

    def set(self, epoch: int, *, resumes: bool = False) -> None:
        """Say which epoch is next, and whether it goes on from a loaded state.

        Setting the epoch that a loaded state belongs to keeps the state.
        """
        self._resumes = resumes or (self._resumes and epoch == self._next)
        self._next = epoch

    def peek(self) -> tuple[int, bool]:
        """Return the next epoch, and whether it goes on from a loaded state."""
        return self._next, self._resumes

    def take(self, key: str = "", at: int | None = None) -> tuple[int, bool]:
        """Begin an iteration: return its epoch like ``peek``, and go on to the one after it.

        Args:
            key: the same in all workers of an iteration; empty in the process that made the clock.
            at: the epoch of a loaded state that this process alone has.
        """
        epoch, resumes = self.peek() if at is None else (at, True)
        self._next, self._resumes = epoch + 1, False
        return epoch, resumes


@dataclasses.dataclass
class _Record:
    """What a shared clock's file says."""

    next: int = 0
    resumes: bool = False
    elsewhere: bool = False
    begun: dict[str, tuple[int, bool]] = dataclasses.field(default_factory=dict)


class SharedClock(Clock):
    """Counts the epochs of a process and the workers that its loaders fork or spawn.

    All workers of one iteration have to agree on the epoch, and nothing in them but a common seed tells
    one iteration from the next: the first to ask takes the next epoch for that seed, the others get the
    same. A worker that was forked has the same file; other copies have clocks of their own.
    """

    def __init__(self, record: dict[str, Any] | None = None) -> None:
        handle, name = tempfile.mkstemp(prefix="mlpools-epoch-")
        with os.fdopen(handle, "w") as file:
            json.dump(record or dataclasses.asdict(_Record()), file)
        self._path = Path(name)
        owner = os.getpid()
        self._removal = weakref.finalize(self, _remove, self._path, owner)

    @property
    def elsewhere(self) -> bool:  # type: ignore[override]
        """Whether the last iteration was begun by a worker."""
        with self._record() as record:
            return record.elsewhere

    def set(self, epoch: int, *, resumes: bool = False) -> None:
        """Say which epoch is next, and whether it goes on from a loaded state."""
        with self._record() as record:
            record.resumes = resumes or (record.resumes and epoch == record.next)
            record.next = epoch

    def peek(self) -> tuple[int, bool]:
        """Return the next epoch, and whether it goes on from a loaded state."""
        with self._record() as record:
            return record.next, record.resumes

    def take(self, key: str = "", at: int | None = None) -> tuple[int, bool]:
        """Begin an iteration: return its epoch like ``peek``; for a key that is known, the same again."""
        with self._record() as record:
            taken = record.begun.get(key)
            if taken is None:
                taken = (record.next, record.resumes) if at is None else (at, True)
                record.next, record.resumes = taken[0] + 1, False
            record.elsewhere = bool(key)
            if key:
                record.begun[key] = taken
                record.begun = dict(list(record.begun.items())[-_REMEMBERED:])
            return taken[0], taken[1]

    @contextlib.contextmanager
    def _record(self) -> Iterator[_Record]:
        """Hold the file's lock; what was changed is written."""
        with alone_with(self._path, "r+") as file:
            before = file.read()
            record = _Record(**json.loads(before))
            yield record
            after = json.dumps(dataclasses.asdict(record))
            if after != before:
                file.seek(0)
                file.write(after)
                file.truncate()

    def __getstate__(self) -> dict[str, Any]:
        spawning = multiprocessing.context.get_spawning_popen() is not None
        with self._record() as record:
            return {"path": str(self._path) if spawning else "", "record": dataclasses.asdict(record)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["path"]:
            self._path = Path(state["path"])
        else:
            self.__init__(state["record"])  # type: ignore[misc]


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        path.unlink(missing_ok=True)
