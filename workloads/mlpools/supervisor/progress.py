"""Gathers a worker's notes into the pod's report."""

from __future__ import annotations

import dataclasses
import time

from mlpools.contract.reports import Note, Phase, Report

#: The key of ``Report.seconds`` that counts from the supervisor's start to the first finished step.
FIRST_STEP = "FirstStep"
_FIELDS = (
    *("step", "total_steps", "rows_per_second", "eta_seconds"),
    *("metrics", "checkpoint_step", "message", "dashboard", "fabric", "shards", "rows", "weak_commit"),
)


class Progress:
    """The report of one pod. Only the main thread writes it; readers get a finished document."""

    def __init__(self, rank: int, attempt: int) -> None:
        self._started = self._phase_since = self._heard = time.monotonic()
        self._report = Report(phase=Phase.STARTING.value, rank=rank, attempt=attempt)

    def add(self, note: Note) -> None:
        """Take over what changed; a step never falls."""
        self._heard = now = time.monotonic()
        if note.phase is not None:
            self.enter(note.phase)
        changes = {name: getattr(note, name) for name in _FIELDS if getattr(note, name) is not None}
        changes["step"] = max(changes.get("step", 0), self._report.step)
        changes["checkpoint_step"] = max(changes.get("checkpoint_step", 0), self._report.checkpoint_step)
        if note.step and FIRST_STEP not in self._report.seconds:
            changes["seconds"] = {**self._report.seconds, FIRST_STEP: round(now - self._started, 3)}
        self._report = dataclasses.replace(self._report, **changes)

    def enter(self, phase: str) -> None:
        """Begin a phase and keep how long the one before it took."""
        report, now = self._report, time.monotonic()
        if phase == report.phase:
            return
        spent = report.seconds.get(report.phase, 0.0) + now - self._phase_since
        seconds = {**report.seconds, report.phase: round(spent, 3)}
        self._phase_since = now
        self._report = dataclasses.replace(report, phase=phase, seconds=seconds, message="")

    def report(self) -> Report:
        """Return how far the pod is at this moment."""
        age = round(time.monotonic() - self._heard, 3)
        return dataclasses.replace(self._report, age_seconds=age)
