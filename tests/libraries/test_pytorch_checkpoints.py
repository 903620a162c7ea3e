"""Checkpoints of one rank: in an object store, of parts of all kinds, and which of several is taken."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mlpools.errors import CheckpointMismatch, DataNotReadable, InvalidSpec, OutputNotWritable
from mlpools.gang import Gang
from mlpools.train.job import Job
from mlpools.train.pytorch.agreement import Agreement
from mlpools.train.pytorch.checkpoints import Checkpoints
from mlpools.train.pytorch.metrics import MetricsReporter
from mlpools.train.pytorch.rendezvous import Channel
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from tests.support.object_store import Fault, ObjectStore
from tests.support.pods import task
from tests.support.store_environment import use_store

URL = "s3://bucket/saved"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore() as store:
        use_store(store, monkeypatch, tmp_path, patience=3)
        yield store


class Program:
    """A program with a module, an optimizer, a schedule and plain values."""

    def __init__(
        self, folder: Path, *, uid: str = "uid-1", mode: str = "Error", lr: str = "0.1", **more: Any
    ) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 2)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=float(lr))
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, gamma=0.5)
        self.progress = {"epoch": 0}
        given = task(
            folder / "out",
            uid=uid,
            checkpoint={"url": URL, "everyRounds": 1, "keep": 2},
            output={"url": str(folder / "out"), "mode": mode},
        )
        job = Job(given, Gang(), Reporter(), Stop(1))
        channel = Channel(None, "test", job.gang)
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        self.metrics = MetricsReporter(job, folder / f"metrics-{uid}.jsonl")
        self.checkpoints = Checkpoints(
            job,
            channel,
            Agreement(channel),
            self.metrics,
            {"hyperParams": {"lr": lr}},
            {**parts, "progress": self.progress, **more},
        )

    def step(self, number: int) -> None:
        self.optimizer.zero_grad()
        self.model(torch.rand(4, 3)).sum().backward()
        self.optimizer.step()
        self.schedule.step()
        self.progress["epoch"] = number
        self.metrics.log_metrics({"loss": 1 / number}, step=number)
        self.checkpoints.after_step(number)

    def state(self) -> list[Any]:
        """Return all that a step depends on, and the random numbers that come next."""
        weights = [value.tolist() for value in self.model.parameters()]
        drawn = [random.random(), np.random.random(), torch.rand(1).item()]
        return [weights, self.schedule.get_last_lr(), self.progress, self.metrics.rows(), drawn]


def test_a_program_goes_on_from_an_object_store(store: ObjectStore, tmp_path: Path) -> None:
    first = Program(tmp_path)
    assert first.checkpoints.load() == 0
    for number in (1, 2, 3):
        first.step(number)
    folders = {name.split("/")[3] for name in store.objects}
    assert folders == {"step-000000002", "step-000000003"}
    then = first.state()
    again = Program(tmp_path)
    assert again.state() != then
    assert again.checkpoints.load() == 3
    assert again.state() == then


def test_one_wrong_byte_or_a_missing_file_is_seen(store: ObjectStore, tmp_path: Path) -> None:
    first = Program(tmp_path)
    for number in (1, 2):
        first.step(number)
    broken = next(name for name in store.objects if "2/rank-00000.pt" in name)
    content = store.objects[broken]
    store.objects[broken] = content[:50] + bytes([content[50] ^ 1]) + content[51:]
    assert Program(tmp_path).checkpoints.load() == 1
    del store.objects[next(name for name in store.objects if "1/rank-00000.pt" in name)]
    assert Program(tmp_path).checkpoints.load() == 0


@pytest.mark.parametrize("part", ["COMMIT", "state.json", "rank-00000.pt"])
@pytest.mark.parametrize(("uid", "mode"), [("uid-1", "Error"), ("uid-2", "Resume")])
def test_a_checkpoint_that_may_not_be_read_is_no_missing_one(
    store: ObjectStore, tmp_path: Path, part: str, uid: str, mode: str
) -> None:
    Program(tmp_path).step(1)
    again = Program(tmp_path, uid=uid, mode=mode)
    store.faults.append(Fault("GET", f"step-000000001/{part}", times=99, status=403))
    with pytest.raises(DataNotReadable, match=rf"{part} cannot be read: the store refuses"):
        again.checkpoints.load()
    store.faults.clear()
    assert again.checkpoints.load() == 1


def test_another_job_s_is_taken_only_if_asked_for_and_fitting(store: ObjectStore, tmp_path: Path) -> None:
    Program(tmp_path).step(1)
    assert Program(tmp_path, uid="uid-2").checkpoints.load() == 0
    assert Program(tmp_path, uid="uid-2", mode="Resume").checkpoints.load() == 1
    with pytest.raises(CheckpointMismatch, match="hyperParams was"):
        Program(tmp_path, uid="uid-2", mode="Resume", lr="0.2").checkpoints.load()


def test_a_store_that_refuses_is_said_in_a_sentence(store: ObjectStore, tmp_path: Path) -> None:
    program = Program(tmp_path)
    store.faults.append(Fault(method="PUT", status=403, code="AccessDenied", times=99))
    with pytest.raises(OutputNotWritable, match=r"^s3://bucket/saved/uid-1/step-000000001/") as caught:
        program.step(1)
    assert "Traceback" not in str(caught.value)


def test_parts_that_cannot_be_saved_are_named(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="cannot save 'count', a int: it has no state_dict"):
        Program(tmp_path, count=3)
    stray = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(InvalidSpec, match="the optimizer 'stray' changes"):
        Program(tmp_path, stray=stray)
    Program(tmp_path).step(1)
    with pytest.raises(InvalidSpec, match="holds model, optimizer, progress, schedule, and get_checkpoints"):
        Program(tmp_path, more={"a": 1}).checkpoints.load()
