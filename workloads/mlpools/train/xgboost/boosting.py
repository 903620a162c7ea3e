"""The rounds: boost, evaluate, agree, report, checkpoint."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import xgboost as xgb

from mlpools.errors import Preempted
from mlpools.train.checkpoints import Checkpoint, Checkpoints
from mlpools.train.job import Job
from mlpools.train.reporter import log
from mlpools.train.xgboost.collective import Collective
from mlpools.train.xgboost.parameters import Parameters, higher_is_better

#: Keeping the model's bytes at hand for a late stop may cost this share of the time.
_SNAPSHOT_SHARE = 0.01
_REPORTED_METRICS = 16
_LOG_SECONDS = 5.0

#: data set -> metric -> value of each round
History = dict[str, dict[str, list[float]]]


@dataclasses.dataclass
class Progress:
    """What a training remembers besides its trees; a checkpoint holds it, so nothing is forgotten.

    Attributes:
        finished: rounds.
        history: of all rounds.
        best_round: round with the best value of the watched metric so far; -1 = none watched yet.
    """

    finished: int = 0
    history: History = dataclasses.field(default_factory=dict)
    best_round: int = -1

    def add(self, values: Mapping[str, Mapping[str, float]], watched: str) -> None:
        """Take the values of a finished round."""
        for name, metrics in values.items():
            for metric, value in metrics.items():
                self.history.setdefault(name, {}).setdefault(metric, []).append(value)
        if watched:
            metric, curve = list(self.history[watched].items())[-1]
            sign = -1.0 if higher_is_better(metric) else 1.0
            if self.best_round < 0 or sign * curve[-1] < sign * curve[self.best_round]:
                self.best_round = self.finished
        self.finished += 1

    def at(self, index: int) -> dict[str, dict[str, float]]:
        """Return all values of one round."""
        return {
            name: {metric: curve[index] for metric, curve in metrics.items()}
            for name, metrics in self.history.items()
        }


def flat(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return values under names such as ``eval-rmse``, at most as many as a report holds."""
    pairs = [
        (f"{name}-{metric}", value)
        for name, metrics in values.items()
        for metric, value in metrics.items()
        if math.isfinite(value)
    ]
    return dict(pairs[:_REPORTED_METRICS])


class Boosting:
    """One rank's side of the training loop.

    Attributes:
        booster: the model so far.
        progress: what of it is done.
        resumed_from: finished rounds of the checkpoint that it began with, 0 = none.
    """

    def __init__(
        self,
        job: Job,
        collective: Collective,
        parameters: Parameters,
        matrices: Mapping[str, xgb.QuantileDMatrix],
        checkpoints: Checkpoints | None,
    ) -> None:
        self._job = job
        self._collective = collective
        self._parameters = parameters
        self._matrices = matrices
        self._saver = Saver(job, checkpoints) if checkpoints else None
        others = [name for name in matrices if name != "train"]
        self._watched = ("eval" if "eval" in others else others[-1]) if parameters.patience else ""
        self.booster = xgb.Booster(dict(parameters.booster), cache=list(matrices.values()))
        self.progress = Progress()
        self._next_line = 0.0
        self.resumed_from = 0

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Continue from rank 0's checkpoint, on all ranks."""
        share = self._collective.share
        state = share(checkpoint and {"finished": checkpoint.step, **checkpoint.state})
        if state is None:
            return
        model = self._collective.share_bytes(checkpoint.model if checkpoint else b"")
        self.booster.load_model(bytearray(model))
        self.booster.set_param(dict(self._parameters.booster))
        self.progress = Progress(**state)
        self.resumed_from = self.progress.finished
        if self._saver is not None:
            self._saver.committed = self.progress.finished
            self._job.reporter.checkpoint(self.progress.finished)

    @property
    def checkpoint_step(self) -> int:
        """Round of the newest checkpoint, 0 = none; rank 0 knows."""
        return self._saver.committed if self._saver else 0

    def run(self, total_rows: int) -> bool:
        """Boost until the rounds are done, a metric stopped improving, or a stop was asked for.

        Args:
            total_rows: training rows of all ranks, for the rate.

        Returns:
            Whether the training is complete; otherwise it stopped with a checkpoint, as asked.
        """
        began, first = time.monotonic(), self.progress.finished
        if self._saver is not None:
            self._job.stop.when_late(self._saver.save_late)
        while self.progress.finished < self._parameters.rounds:
            # Ranks hold equal metrics; rank 0's word on patience counts all the same.
            over = self._collective.rank == 0 and self._patience_is_over()
            asked, over = self._collective.any(self._job.stop.requested, over)
            if over:
                break
            if asked:
                self._save_and_wait()
                return False
            self._round()
            self._report(total_rows, began, first)
            if self._saver is not None:
                self._saver.after_round(self.booster, self.progress)
        self._job.reporter.flush()
        return True

    def _round(self) -> None:
        index = self.progress.finished
        self.booster.update(self._matrices["train"], index)
        self.progress.add(self.evaluate(self.booster, index), self._watched)

    def evaluate(self, booster: xgb.Booster, index: int) -> dict[str, dict[str, float]]:
        """Return the metrics of every set, over the rows of all ranks. A collective call."""
        # Numbers instead of the sets' names: XGBoost answers "<name>-<metric>", and both may hold dashes.
        numbered = [(matrix, str(i)) for i, matrix in enumerate(self._matrices.values())]
        names = list(self._matrices)
        values: dict[str, dict[str, float]] = {name: {} for name in names}
        for item in booster.eval_set(numbered, index).split("\t")[1:]:
            key, _, value = item.rpartition(":")
            number, _, metric = key.partition("-")
            values[names[int(number)]][metric] = float(value)
        return values

    def _patience_is_over(self) -> bool:
        waited = self.progress.finished - 1 - self.progress.best_round
        return bool(self._watched) and self.progress.finished > 0 and waited >= self._parameters.patience

    def _save_and_wait(self) -> None:
        """All ranks are at this same boundary; nobody leaves before rank 0 has saved it."""
        if self._saver is not None:
            self._saver.save(self.booster, self.progress)
        self._collective.any(False)

    def _report(self, total_rows: int, began: float, first: int) -> None:
        finished, total = self.progress.finished, self._parameters.rounds
        per_round = (time.monotonic() - began) / (finished - first)
        metrics, eta = flat(self.progress.at(-1)), per_round * (total - finished)
        self._job.reporter.step(
            step=finished,
            total_steps=total,
            rows_per_second=round(total_rows / max(per_round, 1e-9), 1),
            eta_seconds=round(eta, 1),
            metrics=metrics,
            message="",
        )
        if self._collective.rank == 0 and (time.monotonic() >= self._next_line or finished == total):
            self._next_line = time.monotonic() + _LOG_SECONDS
            values = ", ".join(f"{name} {value:.6g}" for name, value in metrics.items())
            log(f"round {finished} of {total}, {values}, {eta:.0f} s left")


class Saver:
    """Decides on rank 0 when a checkpoint is due.

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
        self._snapshot: tuple[Progress, bytes] | None = None
        self._snapshot_due = 0.0
        self.committed = 0

    def after_round(self, booster: xgb.Booster, progress: Progress) -> None:
        """Commit a checkpoint if one is due, else keep the model at hand for a late stop."""
        rounds_due = self._every_rounds and progress.finished % self._every_rounds == 0
        seconds_due = self._every_seconds and time.monotonic() - self._last >= self._every_seconds
        if rounds_due or (seconds_due and not self._every_rounds):
            self.save(booster, progress)
        elif time.monotonic() >= self._snapshot_due:
            began = time.thread_time()  # its cost, whoever else wants the CPU
            copy = dataclasses.replace(progress, history=_copy(progress.history))
            with self._lock:
                self._snapshot = (copy, bytes(booster.save_raw("ubj")))
            self._snapshot_due = time.monotonic() + (time.thread_time() - began) / _SNAPSHOT_SHARE

    def save(self, booster: xgb.Booster, progress: Progress) -> None:
        """Commit a checkpoint of the last finished round."""
        with self._lock:
            self._commit(progress, bytes(booster.save_raw("ubj")))

    def save_late(self) -> None:
        """Save the newest model at hand and leave: the others do not come to the boundary in time."""
        with self._lock:
            if self._snapshot is not None:
                self._commit(*self._snapshot)
            self._job.end(
                Preempted(f"Stopped late, as asked; the newest checkpoint is of round {self.committed}.")
            )

    def _commit(self, progress: Progress, model: bytes) -> None:
        if progress.finished <= self.committed:
            return
        state: dict[str, Any] = {"history": progress.history, "best_round": progress.best_round}
        self._checkpoints.save(progress.finished, model, state)
        self.committed = progress.finished
        self._last = time.monotonic()
        self._job.reporter.checkpoint(progress.finished)


def _copy(history: History) -> History:
    return {name: {metric: list(curve) for metric, curve in item.items()} for name, item in history.items()}
