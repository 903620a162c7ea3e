"""The rows of queries go when a job has its result, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpools.errors import DataNotReadable, OutputNotWritable
from mlpools.gang import Gang
from mlpools.runtime import launch, staged
from mlpools.storage import locate
from mlpools.storage.location import Location
from mlpools.train.job import Job, Outcome
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from tests.support.pods import task

SQL = {"train": {"sql": {"connectionSecret": "db", "query": "SELECT 1"}}}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    given = task(tmp_path, data=SQL)
    locate(staged.folder(given)).child("a1/part-0.parquet").write(b"rows")
    return Job(given, Gang(), Reporter(), Stop(60))


def lies(job: Job) -> bool:
    return locate(staged.folder(job.task)).exists()


def done(_: Job) -> Outcome:
    return Outcome(files={"model": b"m"}, step=1, metrics={}, facts={})


def lost(_: Job) -> Outcome:
    raise DataNotReadable("gone")


def test_they_go_with_the_result(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "load", lambda _, **__: done)
    launch.work(job)
    assert not lies(job)


def test_a_later_attempt_removes_what_one_left_that_had_written_its_result(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "load", lambda _, **__: done)
    monkeypatch.setattr(staged, "remove", lambda _: None)
    launch.work(job)
    assert lies(job)
    monkeypatch.undo()
    launch.work(job)
    assert not lies(job)


def test_they_serve_the_attempt_after_one_that_failed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "load", lambda _, **__: lost)
    with pytest.raises(DataNotReadable):
        launch.work(job)
    assert lies(job)


def test_a_store_that_keeps_them_fails_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Location) -> None:
        raise OutputNotWritable("read-only")

    monkeypatch.setattr(Location, "delete_tree", refuse)
    staged.remove(job.task)
    assert "The rows of the job's queries stay in " in "".join(capsys.readouterr())
