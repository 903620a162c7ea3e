"""What becomes of a process that predicts and is killed, above all for memory."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlpools.contract.tasks import INFERENCE, Task
from mlpools.errors import OutOfMemory
from mlpools.inference import errand, keeper
from mlpools.inference.asking import Dispensary
from mlpools.inference.errand import Errand
from mlpools.inference.keeper import Keeper
from mlpools.inference.models.fetch import Fetched

KILLED = -signal.SIGKILL


class Starved:
    """Plays processes that load their model and are then killed, for memory if so wished."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, hungry: bool = True) -> None:
        self.folder = folder
        self.hungry = hungry
        self.loads = True
        self.kills = 0
        self.bounds: list[int] = []
        self.told: list[str] = []
        monkeypatch.setattr(keeper.cgroup, "oom_kills", lambda: self.kills)
        monkeypatch.setattr(keeper.subprocess, "Popen", self.start)
        for name in ("left", "beat"):
            monkeypatch.setattr(Dispensary, name, lambda _, name=name: self.told.append(name))
        monkeypatch.setattr(Dispensary, "crashed", lambda _, words: self.told.append(words))

    def start(self, *_: Any, **__: Any) -> Any:
        self.bounds.append(Errand.read(self.folder).most_rows)
        return SimpleNamespace(poll=self.end)

    def end(self) -> int:
        if self.loads:
            errand.note_loaded(self.folder)
        self.kills += self.hungry
        return KILLED

    def keeper(self, **spec: Any) -> Keeper:
        task = Task(
            namespace="team",
            name="scores",
            uid="uid-1",
            attempt=1,
            nodes=1,
            coordinator="",
            framework=INFERENCE,
            spec={"model": {"url": "m.ubj"}, **spec},
            data={"input": {"parquet": {"url": "in"}}},
            output={"url": str(self.folder / "out")},
            checkpoint={},
        )
        job: Any = SimpleNamespace(
            task=task, gang=SimpleNamespace(rank=0, threads=1), reporter=SimpleNamespace(descriptor=None)
        )
        return Keeper(job, Dispensary("127.0.0.1", 1, "token"), Fetched(), self.folder)


@pytest.mark.parametrize(
    ("spec", "bounds"),
    [
        ({}, [0, 32768, 4096, 512, 64, 8, 1, 1]),
        ({"batchRows": 1000}, [0, 125, 15, 1, 1, 1, 1, 1]),
    ],
)
def test_each_kill_for_memory_makes_batches_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], bounds: Sequence[int]
) -> None:
    starved = Starved(tmp_path, monkeypatch)
    kept = starved.keeper(**spec)
    for _ in bounds[1:]:
        assert not kept.poll()
    assert starved.bounds == list(bounds)
    # The first time is no fault of the shards in hand; from then on they are suspects.
    assert starved.told == ["left", *["was killed by SIGKILL"] * (len(bounds) - 2)]


@pytest.mark.parametrize(("attempts", "bound"), [(1, 32768), (3, 512)])
def test_a_kill_of_all_its_pod_makes_the_next_attempt_s_batches_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: int, bound: int
) -> None:
    starved = Starved(tmp_path, monkeypatch, hungry=False)
    starved.keeper(outOfMemory=attempts)
    assert starved.bounds == [bound]


def test_another_kill_leaves_batches_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starved = Starved(tmp_path, monkeypatch, hungry=False)
    assert not starved.keeper().poll()
    assert starved.bounds == [0, 0]
    assert starved.told == ["was killed by SIGKILL"]


def test_a_model_that_does_not_fit_into_memory_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starved = Starved(tmp_path, monkeypatch)
    starved.loads = False
    with pytest.raises(OutOfMemory, match="does not fit into a worker's memory"):
        starved.keeper().poll()
