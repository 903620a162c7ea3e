"""Every row once: workers and rank 0 die, stall and wake up at every step, wherever the output is.

A run without faults by one worker says which steps there are, and what every other run has to end with.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import INFERENCE, Task
from mlpools.contract.wiring import CACHE_ENV
from mlpools.data.writers import commit
from mlpools.storage import Location, locate
from mlpools.train.leader import listens
from tests.support import steps
from tests.support.forked_pods import RANK, WORKER, At, ForkedPod, Forks, ended, stopped
from tests.support.object_store import Fault, ObjectStore
from tests.support.parts import names
from tests.support.pods import free_ports, wait_for
from tests.support.store_environment import use_store
from tests.support.waiting import PATIENCE

ROWS, SHARD, KEYS = 40, 20, 7
#: A run for each step takes 100 seconds on an idle machine of two cores.
EVERY_SECONDS = 1200
#: What no test below makes anybody say before it dies: workers that leave, and what cannot be read.
UNSAID = {"Dispensary.blank", "Dispensary.unread", "Dispensary.crashed", "Dispensary.left"}


@dataclasses.dataclass
class Once:
    """Runs of one batch inference, each into a place of its own.

    Attributes:
        kind: of the place.
        forks: starts pods.
        store: that holds the outputs, if it is one.
        every: whether each step has a run, and not only the first of each word.
        model: ``predict`` doubles, ``picky`` fails on one row, ``keyed`` doubles all rows of a key at once.
    """

    kind: str
    folder: Path
    forks: Forks
    store: ObjectStore
    every: bool
    model: str
    numbers: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))

    def fresh(self) -> Run:
        """Return a run that has not begun."""
        folder = self.folder / str(next(self.numbers))
        folder.mkdir()
        url = str(folder / "out") if self.kind == "volume" else f"s3://bucket/{folder.name}"
        return Run(folder, a_task(self.folder, url, self.model), self.forks)

    def chosen(self, trace: Sequence[str]) -> list[str]:
        """Return the steps that have a run of their own: all, or the first of each word."""
        return [step for step in trace if self.every or (step.endswith("#1") and step[0].isupper())]


@dataclasses.dataclass
class Run:
    """One run, of one attempt or several."""

    folder: Path
    task: Task
    forks: Forks

    @property
    def target(self) -> Location:
        return locate(self.task.output["url"])

    def start(self, at: At | None = None, *, attempt: int = 1, port: int = 0, nodes: int = 1) -> ForkedPod:
        """Start rank 0 of an attempt."""
        task = replace(self.task, attempt=attempt, nodes=nodes)
        return self.forks.start(self.folder, task, port or free_ports(1)[0], at=at)

    def follow(self, port: int, at: At, rank: int = 1) -> ForkedPod:
        """Start another rank when rank 0 is there, as its supervisor would say."""
        wait_for(functools.partial(listens, "127.0.0.1", port), what="rank 0's door")
        return self.forks.start(self.folder, replace(self.task, nodes=rank + 1), port, rank=rank, at=at)

    def finish(self, attempt: int = 2) -> Final:
        """Have another attempt do what is left."""
        final = self.start(attempt=attempt).wait()
        assert final is not None
        assert final.code == Exit.DONE, final.message
        return final

    def trace(self, who: str) -> list[str]:
        """Return the steps of a process of rank 0's pod."""
        return (self.folder / f"trace-{who}-0").read_text().split()

    def says(self, who: str, step: str) -> bool:
        """Whether a process of rank 0's pod has reached a step."""
        return step in self.trace(who)

    def digests(self) -> dict[int, str]:
        """Return the digest of each shard's part of a finished output, which lacks and has nothing else."""
        manifest = commit.read_manifest(self.target)
        commit.verify(self.target, manifest)
        named = {part.name: part.sha256 for part in manifest.parts}
        assert {name for name in names(self.target) if name.startswith("part-")} == set(named)
        shards = {name: re.match(r"part-(\d+)", name) for name in named}
        found = {int(match[1]): named[name] for name, match in shards.items() if match}
        assert len(found) == len(named)
        return found

    def leftovers(self) -> set[str]:
        """Return what is in the output beside its parts."""
        others = (name for name in names(self.target) if not name.startswith("part-"))
        return {re.sub(r"-\d+-\d+-[0-9a-f]{8}\b", "", name) for name in others}  # less who made it

    def rows(self) -> dict[str, list[int]]:
        """Return all rows of a finished output."""
        parts = commit.read_manifest(self.target).parts
        tables = [pq.read_table(pa.BufferReader(self.target.child(it.name).read())) for it in parts]
        found: dict[str, list[int]] = pa.concat_tables(tables).to_pydict()
        return found


def a_task(folder: Path, url: str, model: str) -> Task:
    function = "picky" if model == "picky" else "predict"
    code = {"framework": "python", "entrypoint": f"tests.support.doubling:{function}"}
    return Task(
        namespace="team",
        name="scores",
        uid="uid-1",
        attempt=1,
        nodes=1,
        coordinator="127.0.0.1",
        framework=INFERENCE,
        spec={
            "model": {**code, "params": {"batchFormat": "arrow"}},
            **({"partitionBy": "k"} if model == "keyed" else {}),
            "shardRows": SHARD,
            "batchRows": SHARD // 2,
            "maxShardFailures": 1,
        },
        data={"input": {"parquet": {"url": str(folder / "in")}}},
        output={"url": url, "keep": ["x"]},
        checkpoint={},
    )


#: Kind of place, what the model does, and whether each step has a run. The first one is quick.
RUNS = [
    ("volume", "predict", False),
    ("volume", "predict", True),
    ("volume", "keyed", True),
    ("store", "predict", True),
    ("store", "keyed", False),
    ("weak store", "predict", True),
    ("weak store", "keyed", False),
]


def params(kinds: str = "", models: str = "") -> list[Any]:
    """Return the runs of some kinds of places and models; of all, if none are named."""
    return [
        pytest.param(
            run,
            marks=[] if run == RUNS[0] else [pytest.mark.full, pytest.mark.timeout(EVERY_SECONDS)],
            id="-".join(map(str, run[:2])) + "-every" * run[2],
        )
        for run in RUNS
        if run[0].endswith(kinds) and run[1].startswith(models)
    ]


@pytest.fixture(params=params())
def once(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Once]:
    kind, model, every = request.param
    (tmp_path / "in").mkdir()
    for i in range(2):
        x = range(i * ROWS // 2, (i + 1) * ROWS // 2)
        rows = pa.table({"x": x, "k": [f"key {it % KEYS}" for it in x]})
        pq.write_table(rows, tmp_path / f"in/{i}.parquet", row_group_size=10)
    with ObjectStore() as store:
        store.honours_once = kind != "weak store"
        use_store(store, monkeypatch, tmp_path, patience=3)
        with Forks() as forks:
            yield Once(kind, tmp_path, forks, store, every, model)


@pytest.fixture
def clean(once: Once) -> Run:
    """A run of a single process without faults."""
    run = once.fresh()
    run.finish(attempt=1)
    found = run.rows()
    assert sorted(found["x"]) == list(range(ROWS))
    assert found["prediction"] == [2 * x for x in found["x"]]
    return run


def test_every_word_is_a_step(once: Once, clean: Run) -> None:
    assert not steps.unclassified()
    said = set()
    for model in ("predict", "picky", "keyed"):
        run = replace(once, model=model).fresh()
        run.finish(attempt=1)
        said |= {step.partition("#")[0] for who in (RANK, WORKER) for step in run.trace(who)}
    publishing = {"Location.write_file", "Location.take"}  # one or the other, by the place
    unsaid = {f"{kind.__name__}.{name}" for kind, name in steps.words()} - said
    assert unsaid - publishing == UNSAID
    assert len(unsaid & publishing) < 2


def test_a_worker_that_is_killed_at_any_step_costs_no_row(once: Once, clean: Run) -> None:
    trace = clean.trace(WORKER)
    loaded = trace.index("Dispensary.ready#1")
    for step in once.chosen(trace):
        run = once.fresh()
        final = run.start(At(WORKER, step, "kill")).wait()
        assert final is not None
        if trace.index(step) < loaded:  # a model that kills whoever loads it would do so again
            assert final.code == Exit.MODEL_UNREADABLE, final.message
            assert not run.target.child(commit.MANIFEST).exists()
            run.finish()
        assert (run.folder / "acted-kill").exists(), step
        assert run.digests() == clean.digests(), step


def test_a_pod_that_is_killed_at_any_step_costs_no_row(once: Once, clean: Run) -> None:
    pods_killed(once, clean)


@pytest.mark.full
@pytest.mark.parametrize("once", params(models="predict"), indirect=True)
def test_a_pod_that_is_killed_while_a_shard_fails_costs_no_other(once: Once) -> None:
    picky = replace(once, model="picky")
    calm = picky.fresh()
    assert calm.finish(attempt=1).rows == {"total": ROWS, "done": ROWS - SHARD, "failed": SHARD}
    pods_killed(picky, calm)


def pods_killed(once: Once, calm: Run) -> None:
    """See that runs whose pods are killed end with what a calm one ends with."""
    for who in (RANK, WORKER):
        for step in once.chosen(calm.trace(who)):
            run = once.fresh()
            assert run.start(At(who, step, "kill-pod")).wait() is None, step
            if run.target.child(commit.SUCCESS).exists():
                assert run.digests() == calm.digests(), step
            run.finish()
            assert run.digests() == calm.digests(), step
            assert run.leftovers() == calm.leftovers(), step


def test_a_pod_that_wakes_up_after_its_shards_were_done_again_changes_nothing(once: Once, clean: Run) -> None:
    """Rank 1 takes all shards and stops; rank 0's worker does them, and rank 1 goes on when all is over."""
    for step in once.chosen(clean.trace(WORKER)):
        run, [port] = once.fresh(), free_ports(1)
        first = run.start(At(WORKER, "Dispensary.next#1", "wait"), port=port, nodes=2)
        second = run.follow(port, At(WORKER, step, "stop-pod"))
        try:
            worker = stopped(run.folder)
            (run.folder / "go").touch()
            final = first.wait()
            assert final is not None
            assert final.code == Exit.DONE, (step, final.message)
            assert run.digests() == clean.digests(), step
            os.kill(worker, signal.SIGCONT)
            assert ended(worker, PATIENCE), step
            assert run.digests() == clean.digests(), step
        finally:
            second.kill()


def test_of_two_workers_that_both_have_a_shard_one_makes_its_part(once: Once, clean: Run) -> None:
    """Rank 0's worker stops on its way, rank 1 gets a copy and is about to say so when the first goes on."""
    trace = clean.trace(WORKER)
    between = trace[trace.index("Dispensary.next#1") : trace.index("Dispensary.committed#2") + 1]
    for step in once.chosen(between):
        run, [port] = once.fresh(), free_ports(1)
        first = run.start(At(WORKER, step, "stop"), port=port, nodes=2)
        worker = stopped(run.folder)
        second = run.follow(port, At(WORKER, "Dispensary.committed#1", "wait"))
        try:
            wait_for((run.folder / "acted-wait").exists, what="a second part")
            os.kill(worker, signal.SIGCONT)
            said = functools.partial(run.says, WORKER, "Dispensary.committed#1")
            wait_for(said, what="the first worker's word")
            (run.folder / "go").touch()
            final = first.wait()
            assert final is not None
            assert final.code == Exit.DONE, (step, final.message)
            assert final.rows == {"total": ROWS, "done": ROWS, "failed": 0}
            assert run.digests() == clean.digests(), step
        finally:
            second.kill()


@pytest.mark.parametrize("once", params(models="predict"), indirect=True)
def test_what_two_lost_workers_had_is_handed_out_a_third_time(once: Once, clean: Run) -> None:
    """A shard that two hold is copied no more: rank 0's worker gets it only since they are given up."""
    run, [port] = once.fresh(), free_ports(1)
    run.task = replace(run.task, spec={**run.task.spec, "shardRows": ROWS})
    first = run.start(At(WORKER, "Dispensary.next#1", "wait"), port=port, nodes=3)
    others = [run.follow(port, At(WORKER, "Scorer.score#1", "kill-pod"))]
    try:
        wait_for((run.folder / "acted-kill-pod").exists, what="the first loss")
        others += [run.follow(port, At(WORKER, "Scorer.score#1", "stop-pod"), rank=2)]
        stopped(run.folder)
        (run.folder / "go").touch()
        final = first.wait()
        assert final is not None
        assert final.code == Exit.DONE, final.message
        assert run.rows() == clean.rows()
    finally:
        for pod in others:
            pod.kill()


def test_an_attempt_that_wakes_up_after_the_next_one_is_through_changes_nothing(
    once: Once, clean: Run
) -> None:
    for step in once.chosen(clean.trace(RANK)):
        run = once.fresh()
        old = run.start(At(RANK, step, "stop-pod"))
        try:
            stopped(run.folder)
            run.finish()
            assert run.digests() == clean.digests(), step
            os.killpg(old.pid, signal.SIGCONT)
            old.wait()
            assert run.digests() == clean.digests(), step
        finally:
            old.kill()


@pytest.mark.parametrize("once", params(kinds="volume"), indirect=True)
def test_a_volume_that_fills_up_leaves_nothing_that_looks_complete(once: Once, clean: Run) -> None:
    for who in (RANK, WORKER):
        for step in once.chosen(clean.trace(who)):
            run = once.fresh()
            final = run.start(At(who, step, "fill")).wait()
            assert final is not None
            if final.code == Exit.DONE:
                assert run.digests() == clean.digests(), step
                continue
            assert final.code == Exit.OUTPUT_NOT_WRITABLE, (step, final.message)
            assert "No space left on device" in final.message
            assert not run.target.child(commit.SUCCESS).exists()
            (run.folder / "full").unlink()
            run.finish()
            assert run.digests() == clean.digests(), step


def expiring(method: str, most: int) -> Fault:
    """Return what refuses every request after so many of one method."""
    fault, asked = Fault(method, times=10**9), itertools.count(1)

    def before() -> None:
        if next(asked) > most:
            fault.method, fault.status, fault.code = "", 403, "ExpiredToken"

    fault.before = before
    return fault


@pytest.mark.parametrize("once", params(kinds="store"), indirect=True)
def test_credentials_that_expire_leave_nothing_that_looks_complete(once: Once, clean: Run) -> None:
    for writes in range(100):
        run = once.fresh()
        once.store.faults = [expiring("PUT", writes)]
        final = run.start().wait()
        once.store.faults = []
        assert final is not None
        if final.code == Exit.DONE:
            break
        assert final.code in (Exit.OUTPUT_NOT_WRITABLE, Exit.DATA_NOT_READABLE), (writes, final.message)
        assert "the credentials have expired" in final.message
        assert not run.target.child(commit.SUCCESS).exists()
        run.finish()
        assert run.digests() == clean.digests(), writes
    assert writes > 10
    assert run.digests() == clean.digests()


@pytest.mark.parametrize("once", params(kinds="store", models="predict"), indirect=True)
def test_credentials_that_expire_at_any_read_cost_no_row(once: Once, clean: Run, tmp_path: Path) -> None:
    """Also where as many shards may fail as there are, since it is not they that are at fault."""
    for path in (tmp_path / "in").iterdir():
        once.store.objects[f"bucket/in/{path.name}"] = path.read_bytes()
    for reads in range(100):
        run = once.fresh()
        spec = {**run.task.spec, "maxShardFailures": ROWS}
        run.task = replace(run.task, spec=spec, data={"input": {"parquet": {"url": "s3://bucket/in"}}})
        shutil.rmtree(os.environ[CACHE_ENV], ignore_errors=True)
        once.store.faults = [expiring("GET", reads)]
        final = run.start().wait()
        once.store.faults = []
        assert final is not None
        if final.code == Exit.DONE:
            break
        assert final.code in (Exit.OUTPUT_NOT_WRITABLE, Exit.DATA_NOT_READABLE), (reads, final.message)
        assert "the credentials have expired" in final.message
        assert not run.target.child(commit.SUCCESS).exists()
        run.finish()
        assert run.digests() == clean.digests(), reads
    assert reads > 5
    assert run.digests() == clean.digests()
