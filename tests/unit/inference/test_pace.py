"""How far a batch inference is, as reports and the log tell it."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools.inference import pace
from mlpools.inference.pace import Pace
from mlpools.train.reporter import Reporter


class Told(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[dict[str, Any]] = []

    def step(self, **values: Any) -> None:
        self.steps.append(values)


def progress(done: int, failed: int = 0, total: int = 20) -> tuple[dict[str, int], dict[str, int], int]:
    shards = {"total": total, "done": done, "failed": failed}
    rows = {name: 100 * number for name, number in shards.items()}
    return shards, rows, rows["done"] + rows["failed"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def test_the_speed_is_that_of_the_last_seconds(clock: list[float]) -> None:
    told = Told()
    it = Pace(told)
    for done in range(5):
        clock[0] = 10.0 * done
        it.tell(lambda done=done: progress(done))  # type: ignore[misc]
    assert told.steps[0]["eta_seconds"] is None
    assert (told.steps[-1]["rows_per_second"], told.steps[-1]["eta_seconds"]) == (10.0, 160.0)
    for done in range(5, 20):
        clock[0] += 1.0
        it.tell(lambda done=done: progress(done))  # type: ignore[misc]
    assert told.steps[-1]["rows_per_second"] == 64.0  # 1,600 rows since second 30
    it.tell(lambda: progress(19), stages=2)
    assert told.steps[-1]["eta_seconds"] > told.steps[-2]["eta_seconds"]


def test_the_log_has_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    it = Pace(Told())
    for done in range(20):
        it.tell(lambda done=done: progress(done, failed=1))  # type: ignore[misc]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("mlpools: shards 19 of 20, 1 failed, rows 1,900 of 2,000, ")
