"""Batch inference by real supervisors, keepers and predictors: every row once, whoever dies and whenever."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.contract.ends import Exit
from mlpools.contract.tasks import Task
from mlpools.data.writers import commit
from mlpools.storage import locate
from tests.support import scoring
from tests.support.pods import wait_for
from tests.support.scoring import parts, pods, run
from tests.support.waiting import PATIENCE

ROWS, SHARD = 1000, 50
SCORING = """
import os, pathlib, signal, time

FOLDER = pathlib.Path(os.environ["SCORING"])
RANK = os.environ["RANK"]

def reached(name):
    '''Whether a test asked for something here, which it does once.'''
    try:
        (FOLDER / name).unlink()
    except FileNotFoundError:
        return False
    return True

def predict(batch):
    first = batch["x"].iloc[0]
    if reached(f"block-{RANK}-{first}") or reached(f"block-{RANK}"):
        (FOLDER / f"blocked-{RANK}").touch()
        while not (FOLDER / "go").exists():
            time.sleep(0.01)
    if reached(f"crash-{first}") or (FOLDER / f"crashes-{first}").exists():
        os.kill(os.getpid(), signal.SIGSEGV)
    if (FOLDER / f"poison-{first}").exists():
        raise ValueError(f"no {first}")
    return batch["x"] * 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for i in range(2):
        rows = pa.table({"x": range(i * ROWS // 2, (i + 1) * ROWS // 2)})
        pq.write_table(rows, tmp_path / f"in/{i}.parquet", row_group_size=100)
    (tmp_path / "scoring.py").write_text(SCORING)
    return tmp_path


def a_task(folder: Path, **changes: Any) -> Task:
    return scoring.a_task(folder, "x", {"shardRows": SHARD, "batchRows": SHARD}, **changes)


def check(folder: Path, missing: Callable[[int], bool] = lambda _: False) -> None:
    """See that a finished output has every row once, with its prediction, in order, as its manifest says."""
    target = locate(folder / "out")
    manifest = commit.read_manifest(target)
    commit.verify(target, manifest)
    named = [part.name for part in manifest.parts]
    assert sorted(path.name for path in (folder / "out").glob("part-*")) == named
    table = pa.concat_tables(pq.read_table(folder / "out" / name) for name in named)
    expected = [x for x in range(ROWS) if not missing(x)]
    assert table.to_pydict() == {"x": expected, "prediction": [2 * x for x in expected]}


def test_the_workers_of_a_pod_share_the_work(folder: Path) -> None:
    final = run(folder, a_task(folder, workers_per_node=2))
    check(folder)
    assert final.shards == {"total": 20, "done": 20, "failed": 0}
    assert final.rows == {"total": ROWS, "done": ROWS, "failed": 0}
    assert final.outputs["manifestURL"].endswith("/out/_manifest.json")
    assert not final.partial
    assert {path.name for path in (folder / "out").iterdir() if not path.name.startswith("part-")} == {
        *("_SUCCESS", "_manifest.json", "_run.json", "owner.json", "logs"),
    }


def test_a_lost_node_costs_its_shards_in_hand_and_nothing_else(folder: Path) -> None:
    (folder / "block-1").touch()
    (folder / "block-0-0").touch()
    with pods(folder, a_task(folder, nodes=2)) as gang:
        wait_for((folder / "blocked-1").exists, what="work of rank 1")
        gang[1].kill()
        (folder / "go").touch()
        gang[0].process.wait(PATIENCE)
        assert gang[0].final.code == Exit.DONE, gang[0].output()
    check(folder)


def test_a_drained_node_leaves_the_others_alone(folder: Path) -> None:
    (folder / "block-1").touch()
    (folder / "block-0-0").touch()
    with pods(folder, a_task(folder, nodes=2)) as gang:
        wait_for((folder / "blocked-1").exists, what="work of rank 1")
        gang[1].process.send_signal(signal.SIGTERM)
        gang[1].process.wait(PATIENCE)
        assert gang[1].final.code == Exit.PREEMPTED
        (folder / "go").touch()
        gang[0].process.wait(PATIENCE)
        assert gang[0].final.code == Exit.DONE, gang[0].output()
    check(folder)


@pytest.mark.parametrize("how", ["killed", "suspended"])
def test_a_new_attempt_does_only_what_is_not_committed(folder: Path, how: str) -> None:
    (folder / "block-0-500").touch()
    task = a_task(folder)
    with pods(folder, task) as gang:
        wait_for((folder / "blocked-0").exists, what="half of the work")
        wait_for(lambda: len(parts(folder)) >= 8, what="parts")
        if how == "killed":
            gang[0].kill()
        else:
            gang[0].process.send_signal(signal.SIGTERM)
        gang[0].process.wait(PATIENCE)
        if how == "suspended":
            assert gang[0].final.code == Exit.PREEMPTED
    before = parts(folder)
    assert 8 <= len(before) <= 10
    assert not (folder / "out/_SUCCESS").exists()
    run(folder, replace(task, attempt=2))
    check(folder)
    after = parts(folder)
    assert before.items() <= after.items()


def test_a_crash_costs_a_moment_and_the_second_one_with_a_shard_ends_the_shard(folder: Path) -> None:
    (folder / "crash-100").touch()
    (folder / "crashes-700").touch()
    task = a_task(folder)
    final = run(folder, replace(task, spec={**task.spec, "maxShardFailures": 1}))
    check(folder, missing=lambda x: 700 <= x < 750)
    assert final.rows == {"total": ROWS, "done": ROWS - 50, "failed": 50}
    assert "killed by SIGSEGV, 2 times" in final.partial
    [error] = [json.loads(line) for line in (folder / "out/_errors.jsonl").read_text().splitlines()]
    assert error["shard"] == 14


def test_too_many_bad_shards_fail_and_resuming_does_only_them(folder: Path) -> None:
    (folder / "poison-250").touch()
    task = a_task(folder)
    with pods(folder, task) as gang:
        [final] = gang.wait()
        assert final.code == Exit.SHARDS_FAILED
    assert "row 250 of" in final.message
    assert "ValueError: no 250" in final.message
    assert final.shards == {"total": 20, "done": 19, "failed": 1}
    assert not (folder / "out/_SUCCESS").exists()
    before = parts(folder)
    (folder / "poison-250").unlink()
    run(folder, replace(task, uid="uid-2", output={**task.output, "mode": "Resume"}))
    check(folder)
    assert before.items() <= parts(folder).items()


def test_a_model_that_crashes_while_it_is_loaded_says_so(folder: Path) -> None:
    (folder / "scoring.py").write_text("import os\nos.abort()\n")
    with pods(folder, a_task(folder)) as gang:
        [final] = gang.wait()
    assert final.code == Exit.MODEL_UNREADABLE
    assert "was killed by SIGABRT" in final.message
    assert not (folder / "out/_run.json").exists()
