"""Tells the supervisor how far this worker is."""

from __future__ import annotations

import dataclasses
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlpools.contract.ends import Final
from mlpools.contract.reports import Note, Phase
from mlpools.contract.wiring import REPORT_FD_ENV

#: Steps may be much faster than anybody reads about them.
_SECONDS_BETWEEN = 0.25


def log(text: str) -> None:
    """Write a line into the job's log, where a person looks for it."""
    print(f"mlpools: {text}", flush=True)  # noqa: T201


class Reporter:
    """Writes notes to the supervisor's pipe; without a supervisor it writes nowhere.

    Attributes:
        seconds: how long each named part of the work took, for the result.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._pipe = None if descriptor is None else os.fdopen(descriptor, "wb", buffering=0)
        self._last = 0.0
        self._waiting: Note | None = None
        self._clock = time.monotonic()
        self.seconds: dict[str, float] = {}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Reporter:
        """Use the supervisor's pipe if there is one; programs that this one starts do not inherit it."""
        text = environ.get(REPORT_FD_ENV)
        if text is None:
            return cls()
        os.set_inheritable(int(text), False)
        return cls(int(text))

    def when_alone(self, action: Callable[[], None]) -> None:
        """Run an action, in another thread, if the supervisor is gone: nobody else would end this worker."""
        if self._pipe is not None:
            threading.Thread(
                target=self._wait_for_end, args=(self._pipe.fileno(), action), daemon=True
            ).start()

    @property
    def descriptor(self) -> int | None:
        """The pipe's, for a program that reports in this one's place; None without a supervisor."""
        return None if self._pipe is None else self._pipe.fileno()

    def phase(self, phase: Phase) -> None:
        """Enter a phase."""
        self._write(Note(phase=phase.value))

    def tell(self, note: Note) -> None:
        """Report what has changed, at once."""
        self._write(note)

    def alive(self, message: str) -> None:
        """Say that something got further that is not a step; rate-limited."""
        self._offer(Note(message=message))

    def step(self, **values: Any) -> None:
        """Report a finished step, with fields of ``Note``; rate-limited, the newest waits its turn."""
        self._offer(Note(**values))

    def fabric(self, found: str) -> None:
        """Report what the network between the ranks was found to be, in a sentence."""
        self._write(Note(fabric=found))

    def checkpoint(self, step: int) -> None:
        """Report a committed checkpoint."""
        self._write(Note(checkpoint_step=step))

    def final(self, final: Final) -> None:
        """Give the worker's own account of its end; the last thing it says."""
        self.flush()
        self._write(Note(final=final.to_dict()))

    def flush(self) -> None:
        """Write what waits."""
        note, self._waiting = self._waiting, None
        if note is not None:
            self._write(note)

    def lap(self, name: str) -> None:
        """Book the time since the last lap under a name."""
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._clock, 3)
        self._clock = now

    @staticmethod
    def _wait_for_end(descriptor: int, action: Callable[[], None]) -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # a pipe without a reader is an error, which always counts
        poll.poll()
        action()

    def _offer(self, note: Note) -> None:
        if self._waiting is not None:  # a step is not lost because of a message after it
            news = {name: value for name, value in vars(note).items() if value is not None}
            note = dataclasses.replace(self._waiting, **news)
        if time.monotonic() - self._last < _SECONDS_BETWEEN:
            self._waiting = note
            return
        self._waiting = None
        self._write(note)

    def _write(self, note: Note) -> None:
        self._last = time.monotonic()
        if self._pipe is not None:
            line = memoryview(note.to_json().encode() + b"\n")
            while line:  # a pipe takes long lines in parts
                line = line[self._pipe.write(line) or 0 :]
