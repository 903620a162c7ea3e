"""The rounds: boost, evaluate, agree, report, checkpoint."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from mlpools.errors import Preempted
from mlpools.train.checkpoints import Checkpoint, Checkpoints
from mlpools.train.collective import Collective
from mlpools.train.job import Job
from mlpools.train.own_time import OwnTime
from mlpools.train.reporter import log
from mlpools.train.trees.hooks import Callbacks
from mlpools.train.trees.progress import Progress, Values, flat
from mlpools.train.trees.saver import Saver, Snapshot
from mlpools.train.trees.section import Section

_LOG_SECONDS = 5.0


class Trees(Protocol):
    """One rank's model, with the rows that it learns from and is measured on.

    All ranks make the same calls in the same order; ``save`` alone is no collective call.
    """

    def update(self, index: int) -> None:
        """Grow the trees of a round, which is counted from 0."""

    def evaluate(self, index: int) -> Values:
        """Return the metrics of every set after that round, over the rows of all ranks."""

    def higher_is_better(self, metric: str) -> bool:
        """Whether early stopping waits for a higher value of a metric."""

    def save(self) -> bytes:
        """Return the model so far; rank 0 asks."""

    def load(self, model: bytes) -> None:
        """Go on from a model that ``save`` returned."""


class Boosting:
    """One rank's side of the training loop.

    Attributes:
        progress: what is done.
        resumed_from: finished rounds of the checkpoint that it began with, 0 = none.
    """

    def __init__(
        self,
        job: Job,
        collective: Collective,
        section: Section,
        trees: Trees,
        data_names: Collection[str],
        checkpoints: Checkpoints | None,
        callbacks: Callbacks | None = None,
    ) -> None:
        self._job = job
        self._collective = collective
        self._section = section
        self._trees = trees
        self._callbacks = callbacks or Callbacks()
        self._states: Sequence[Any] = ()
        self._checkpoints = checkpoints
        self._saver = Saver(job, checkpoints) if checkpoints else None
        self._watched = section.watched(data_names)
        self._own_time = OwnTime()
        self.progress = Progress()
        self._next_line = 0.0
        self.resumed_from = 0

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Continue from rank 0's checkpoint, on all ranks."""
        share = self._collective.share
        state = share(checkpoint and {"finished": checkpoint.step, **checkpoint.state})
        if state is None:
            return
        self._trees.load(self._collective.share_bytes(checkpoint.model if checkpoint else b""))
        self._states = state.pop("callbacks", ())
        self.progress = Progress(**state)
        self.resumed_from = self.progress.finished
        if self._saver is not None:
            self._saver.committed = self.progress.finished
            self._job.reporter.checkpoint(self.progress.finished)

    @property
    def checkpoint_step(self) -> int:
        """Round of the newest checkpoint, 0 = none; rank 0 knows."""
        return self._saver.committed if self._saver else 0

    @property
    def passed_over(self) -> list[str]:
        """Checkpoints that could not be gone on from, and why; rank 0 knows."""
        return self._checkpoints.passed_over if self._checkpoints else []

    def run(self, total_rows: int) -> None:
        """Boost until the rounds are done, a metric stopped improving, or a callback wants it to end.

        Args:
            total_rows: training rows of all ranks, for the rate.

        Raises:
            Preempted: a stop was asked for; the last finished round is saved.
        """
        began, first = time.monotonic(), self.progress.finished
        self._callbacks.before_training()
        if self._states and self._callbacks.given:
            self._callbacks.load_state(self._states)
        if self._saver is not None:
            self._job.stop.when_late(self._saver.save_late)
        while self.progress.finished < self._section.rounds:
            asked, over = self._collective.any(self._job.stop.requested, self._is_over())
            if over:
                break
            if asked:
                self._save_and_wait()
                raise Preempted(f"Stopped as asked after round {self.progress.finished}, which is saved.")
            if not self._round():
                break
            self._report(total_rows, began, first)
            if self._saver is not None:
                self._saver.after_round(self.progress.finished, self._snapshot)
        self._job.stop.when_late(None)  # and forget the model, whose rows may lie in files that go now
        self._callbacks.after_training()
        self._job.reporter.flush()

    def _round(self) -> bool:
        """Do a round; return False if callbacks did not want it."""
        progress, index = self.progress, self.progress.finished
        # Asked after the agreement about a stop: what a callback does now belongs to this round.
        if self._callbacks.given:
            wish = self._callbacks.before_round(index, progress.history)
            if self._collective.any(self._collective.rank == 0 and wish)[0]:
                return False
        with self._own_time.step():
            self._trees.update(index)
        progress.add(self._trees.evaluate(index), self._watched, self._trees.higher_is_better)
        progress.over = self._callbacks.after_round(index, progress.history)
        return True

    def _is_over(self) -> bool:
        """Return whether enough is learned.

        Ranks hold equal metrics, and callbacks may well differ; rank 0's word counts in both.
        """
        return self._collective.rank == 0 and (self.progress.over or self._patience_is_over())

    def _patience_is_over(self) -> bool:
        waited = self.progress.finished - 1 - self.progress.best_round
        return bool(self._watched) and self.progress.finished > 0 and waited >= self._section.patience

    def _save_and_wait(self) -> None:
        """All ranks are at this same boundary; nobody leaves before rank 0 has saved it."""
        if self._saver is not None:
            self._saver.save(self._snapshot)
        self._collective.any(False)

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.progress.copy(), self._trees.save(), self._callbacks.state())

    def _report(self, total_rows: int, began: float, first: int) -> None:
        finished, total = self.progress.finished, self._section.rounds
        per_round = (time.monotonic() - began) / (finished - first)
        metrics, eta = flat(self.progress.at(-1)), per_round * (total - finished)
        self._job.reporter.step(
            step=finished,
            total_steps=total,
            rows_per_second=round(total_rows / max(per_round, 1e-9), 1),
            eta_seconds=round(eta, 1),
            metrics=metrics,
            own_seconds=self._own_time.seconds,
            message="",
        )
        every = self._section.log_rounds
        due = finished % every == 0 if every else time.monotonic() >= self._next_line
        if self._collective.rank == 0 and (due or finished == total):
            self._next_line = time.monotonic() + _LOG_SECONDS
            values = ", ".join(f"{name} {value:.6g}" for name, value in metrics.items())
            log(f"round {finished} of {total}, {values}, {eta:.0f} s left")
