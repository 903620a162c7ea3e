"""When an unfinished model is saved, and how it still is when a stop comes too late for a boundary."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from mlpools.errors import Preempted
from mlpools.train.checkpoints import Checkpoints
from mlpools.train.history import keep
from mlpools.train.job import Job
from mlpools.train.trees.progress import Progress

#: Keeping the model's bytes at hand for a late stop may cost this share of the time.
_SNAPSHOT_SHARE = 0.01


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A training at a round's end, which later rounds do not change.

    Attributes:
        progress: a copy.
        model: the framework's bytes.
        callbacks: their states.
    """

    progress: Progress
    model: bytes
    callbacks: Sequence[Any]

    @property
    def finished(self) -> int:
        """Rounds."""
        return self.progress.finished

    @property
    def state(self) -> dict[str, Any]:
        """What continuing needs besides the model, as JSON can hold it."""
        progress = self.progress
        kept = {"history": progress.history, "best_round": progress.best_round, "over": progress.over}
        return {**kept, "callbacks": self.callbacks}


class Saver:
    """Decides on rank 0 when a checkpoint is due.

    It is handed what takes a snapshot and does not hold it: the matrices behind that have to go with the
    training, and not when the interpreter next looks for cycles.

    Attributes:
        committed: newest checkpoint's round, 0 = none.
    """

    def __init__(self, job: Job, checkpoints: Checkpoints) -> None:
        every = job.task.checkpoint
        self._job = job
        self._checkpoints = checkpoints
        self._every_rounds = int(every.get("everyRounds") or 0)
        self._every_seconds = float(every.get("everySeconds") or 0)
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._snapshot_due = 0.0
        self.committed = 0

    def after_round(self, finished: int, take: Callable[[], Snapshot]) -> None:
        """Commit a checkpoint if one is due, else keep the model at hand for a late stop."""
        rounds_due = self._every_rounds and finished % self._every_rounds == 0
        seconds_due = self._every_seconds and time.monotonic() - self._last >= self._every_seconds
        if rounds_due or (seconds_due and not self._every_rounds):
            self.save(take)
        elif time.monotonic() >= self._snapshot_due:
            began = time.thread_time()  # its cost, whoever else wants the CPU
            with self._lock:
                self._snapshot = take()
            self._snapshot_due = time.monotonic() + (time.thread_time() - began) / _SNAPSHOT_SHARE

    def save(self, take: Callable[[], Snapshot]) -> None:
        """Commit a checkpoint of the last finished round."""
        with self._lock:
            self._commit(take())

    def save_late(self) -> None:
        """Save the newest model at hand and leave: the others do not come to the boundary in time."""
        with self._lock:
            if self._snapshot is not None:
                self._commit(self._snapshot)
            self._job.end(
                Preempted(f"Stopped late, as asked; the newest checkpoint is of round {self.committed}.")
            )

    def _commit(self, snapshot: Snapshot) -> None:
        if snapshot.finished <= self.committed:
            return
        self._checkpoints.save(snapshot.finished, snapshot.model, snapshot.state)
        self.committed = snapshot.finished
        self._last = time.monotonic()
        self._job.reporter.checkpoint(snapshot.finished)
        keep(self._job.task, snapshot.progress.rows())
