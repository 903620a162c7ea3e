"""One rank in this process, stopped at a round of one's choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlpools.contract.ends import Final
from mlpools.gang import Gang
from mlpools.runtime.launch import work
from mlpools.train.job import Job
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from mlpools.train.trees.hooks import Hooks
from tests.support.flights import spec, write_flights
from tests.support.pods import task


class StopAt(Reporter):
    """Asks for a stop while a round is being reported."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.stop = Stop(60)
        self._rounds = rounds

    def step(self, **values: Any) -> None:
        if values["step"] == self._rounds:
            self.stop.request()


class OneRank:
    """Trains on flights in this process, as a gang of one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "out"
        self.data = write_flights(folder / "in", 1_000)

    def run(self, stop_at: int = 0, hooks: Hooks | None = None, **changes: Any) -> Final:
        fields = {"spec": spec(), "data": self.data, **changes}
        reporter = StopAt(stop_at)
        return work(Job(task(self.output, **fields), Gang(), reporter, reporter.stop, hooks or Hooks()))

    def model(self) -> bytes:
        return (self.output / "model.ubj").read_bytes()
