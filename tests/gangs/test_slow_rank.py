"""A rank that has less CPU than the others is named while the job runs."""

from __future__ import annotations

from pathlib import Path

from tests.support.crowd import crowded, slow
from tests.support.flights import spec, write_flights
from tests.support.pods import Pods, task, wait_for


def test_a_rank_whose_cpu_somebody_else_uses_is_named(tmp_path: Path) -> None:
    data = write_flights(tmp_path / "data", 20_000)
    work = task(tmp_path / "out", nodes=3, spec=spec(rounds=1_000_000), data=data)
    with Pods(work, tmp_path / "pods") as pods, crowded(pods, 1):
        report = wait_for(lambda: slow(pods), what="a slow rank")
        assert report.slow_rank == 1
        wait_for(lambda: all("Rank 1 takes" in pod.output() for pod in pods.pods), what="a line in each log")
