"""partitionBy by real supervisors, keepers and predictors: every key in one call, whoever dies when."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import Task
from mlpools.data.writers import commit
from mlpools.storage import locate
from tests.support import scoring
from tests.support.pods import wait_for
from tests.support.scoring import parts, pods
from tests.support.waiting import PATIENCE

ROWS, SHARD, KEYS = 4000, 250, 40
SCORING = """
import os, pathlib, time

import pandas as pd

from mlpools.inference.partitions.shuffle import Shuffle

FOLDER = pathlib.Path(os.environ["SCORING"])
RANK = os.environ["RANK"]

def note(what, line):
    with (FOLDER / f"{what}-{RANK}-{os.getpid()}").open("a") as file:
        file.write(f"{line}\\n")

def stop_if_asked(where):
    try:
        (FOLDER / f"block-{where}-{RANK}").unlink()
    except FileNotFoundError:
        return
    (FOLDER / f"blocked-{RANK}").touch()
    while not (FOLDER / "go").exists():
        time.sleep(0.01)

def publish(self, path, shard, maker, real=Shuffle.publish):
    if shard >= 8:
        stop_if_asked("scatter")
    note("scattered", shard)
    return real(self, path, shard, maker)

Shuffle.publish = publish

def predict(batch):
    [key] = batch["k"].drop_duplicates()
    note("calls", key)
    if key == (FOLDER / "stop-at").read_text():
        stop_if_asked("call")
    if (FOLDER / f"poison-{key}").exists():
        raise ValueError(f"no {key}")
    return pd.DataFrame({"rows": [len(batch)], "total": [batch["x"].sum()], "first": [batch["x"].iloc[0]]})
"""


def rows() -> pd.DataFrame:
    """One hot key has half of the rows; one key is null."""
    x = range(ROWS)
    keys = ["hot" if i % 2 else None if i % KEYS == 0 else f"k{i % KEYS}" for i in x]
    return pd.DataFrame({"x": x, "k": keys})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    table = pa.Table.from_pandas(rows(), preserve_index=False)
    for i in range(2):
        half = table.slice(i * ROWS // 2, ROWS // 2)
        pq.write_table(half, tmp_path / f"in/{i}.parquet", row_group_size=SHARD)
    (tmp_path / "scoring.py").write_text(SCORING)
    (tmp_path / "stop-at").write_text("k20")
    return tmp_path


def a_task(folder: Path, **changes: Any) -> Task:
    return scoring.a_task(folder, "k", {"partitionBy": "k", "shardRows": SHARD}, **changes)


def run(folder: Path, task: Task) -> Final:
    return scoring.run(folder, task)


def check(folder: Path) -> None:
    """See that a finished output is what one process makes of a frame, and that nothing else is left."""
    manifest = commit.read_manifest(locate(folder / "out"))
    commit.verify(locate(folder / "out"), manifest)
    named = [part.name for part in manifest.parts]
    assert sorted(path.name for path in (folder / "out").glob("part-*")) == named
    table = pa.concat_tables(pq.read_table(folder / "out" / name) for name in named)
    found = table.to_pandas().sort_values("k", ignore_index=True)
    groups = rows().groupby("k", dropna=False)["x"]
    expected = groups.agg(["size", "sum", "first"]).reset_index().sort_values("k", ignore_index=True)
    assert found["k"].fillna("null").tolist() == expected["k"].fillna("null").tolist()
    for ours, theirs in (("rows", "size"), ("total", "sum"), ("first", "first")):
        assert found[ours].tolist() == expected[theirs].tolist()
    assert manifest.details["rowsRead"] == ROWS
    assert {path.name for path in (folder / "out").iterdir() if not path.name.startswith("part-")} == {
        *("_SUCCESS", "_manifest.json", "_run.json", "owner.json", "logs"),
    }


def told(folder: Path, what: str) -> Counter[str]:
    """Return how often workers did something, by shard or key."""
    return Counter(line for path in folder.glob(f"{what}-*-*") for line in path.read_text().splitlines())


def test_every_key_is_one_call_of_workers_that_share_them(folder: Path) -> None:
    final = run(folder, a_task(folder, workers_per_node=2))
    check(folder)
    found = told(folder, "calls")
    assert len(found) == KEYS // 2 + 1
    assert set(found.values()) == {1}
    assert final.rows == {"total": ROWS, "done": ROWS, "failed": 0}
    assert final.shards == {"total": 32, "done": 32, "failed": 0}


def test_a_kill_in_the_first_stage_costs_what_was_in_hand(folder: Path) -> None:
    (folder / "block-scatter-0").touch()
    task = a_task(folder)
    with pods(folder, task) as gang:
        wait_for((folder / "blocked-0").exists, what="half of the first stage")
        gang[0].kill()
        gang[0].process.wait(PATIENCE)
    assert not told(folder, "calls")
    run(folder, replace(task, attempt=2))
    check(folder)
    assert told(folder, "scattered") == Counter(map(str, range(16)))


def test_a_kill_in_the_second_stage_costs_what_was_in_hand(folder: Path) -> None:
    (folder / "block-call-0").touch()
    task = a_task(folder)
    with pods(folder, task) as gang:
        wait_for((folder / "blocked-0").exists, what="a key of the second stage")
        wait_for(lambda: len(parts(folder)) > 1, what="parts")
        gang[0].kill()
        gang[0].process.wait(PATIENCE)
    before = {name: inode for name, inode in parts(folder).items() if recorded(folder, name)}
    assert before
    run(folder, replace(task, attempt=2))
    check(folder)
    assert before.items() <= parts(folder).items()
    assert told(folder, "scattered") == Counter(map(str, range(16)))


def recorded(folder: Path, name: str) -> bool:
    return any(name in path.read_text() for path in (folder / "out/_parts").glob("bucket-*.json"))


@pytest.mark.parametrize("stage", ["scatter", "call"])
def test_a_lost_follower_costs_its_shards_in_hand_and_nothing_else(folder: Path, stage: str) -> None:
    (folder / f"block-{stage}-1").touch()
    (folder / f"block-{stage}-0").touch()
    (folder / "scoring.py").write_text(SCORING.replace("shard >= 8", "True").replace("key == (", '"k" in ('))
    with pods(folder, a_task(folder, nodes=2)) as gang:
        for rank in (1, 0):
            wait_for((folder / f"blocked-{rank}").exists, what=f"work of rank {rank}")
        gang[1].kill()
        (folder / "go").touch()
        gang[0].process.wait(PATIENCE)
        assert gang[0].final.code == Exit.DONE, gang[0].output()
    check(folder)


def test_a_bad_key_costs_its_shard_and_resuming_does_only_that(folder: Path) -> None:
    (folder / "poison-k4").touch()
    task = a_task(folder)
    with pods(folder, task) as gang:
        [final] = gang.wait()
    assert final.code == Exit.SHARDS_FAILED
    assert "The model cannot be called for k = k4: ValueError: no k4." in final.message
    [error] = [json.loads(line) for line in (folder / "out/_errors.jsonl").read_text().splitlines()]
    assert error["key"] == "k4"
    assert "file" not in error
    assert not (folder / "out/_SUCCESS").exists()
    before = parts(folder)
    (folder / "poison-k4").unlink()
    run(folder, replace(task, uid="uid-2", output={**task.output, "mode": "Resume"}))
    check(folder)
    assert before.items() <= parts(folder).items()
    assert told(folder, "scattered") == Counter(map(str, range(16)))


def test_an_input_that_cannot_be_read_fails_the_run_before_any_call(folder: Path) -> None:
    data = bytearray((folder / "in/1.parquet").read_bytes())
    data[100:4000] = bytes(3900)
    (folder / "in/1.parquet").write_bytes(data)
    task = a_task(folder)
    with pods(folder, replace(task, spec={**task.spec, "maxShardFailures": 99})) as gang:
        [final] = gang.wait()
    assert final.code == Exit.SHARDS_FAILED
    assert "any key could have rows in them" in final.message
    assert not told(folder, "calls")
    assert (folder / "out/_errors.jsonl").read_text().count("\n") == final.shards["failed"] > 0
    assert not (folder / "out/_SUCCESS").exists()
