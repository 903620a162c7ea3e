"""``mlpools run`` of a BatchInference: real files, real ranks, and what a person reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result

from mlpools import budgets
from mlpools.contract.ends import Exit
from mlpools.contract.reports import Report
from mlpools.data.writers import commit
from mlpools.storage import locate
from mlpools_cli.__main__ import main
from mlpools_cli.screen import describe
from tests.support.inferring import rows_of
from tests.support.manifests import manifest

ROOT = Path(__file__).parents[2]
ENVIRON = {**os.environ, "PYTHONPATH": f"{ROOT / 'workloads'}{os.pathsep}{ROOT / 'operator'}"}
ROWS = 100
CODE = """
import os, pathlib, time

FOLDER = pathlib.Path(os.environ["FOLDER"])

class Double:
    def load(self):
        if os.environ["RANK"] == "1" and (FOLDER / "fail-1").exists():
            (FOLDER / "failed-1").touch()
            raise ValueError("no GPU here")

    def predict(self, batch):
        first = batch["x"].iloc[0]
        while (FOLDER / "fail-1").exists() and not (FOLDER / "failed-1").exists():
            time.sleep(0.01)
        if (FOLDER / f"block-{first}").exists():
            (FOLDER / "blocked").touch()
            time.sleep(600)
        if (FOLDER / f"poison-{first}").exists():
            raise ValueError(f"no {first}")
        return batch["x"] * 2

def memory(batch):
    from mlpools import budgets

    return [budgets.memory()] * len(batch)
"""


class Here:
    """A folder with rows, a manifest with its code, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "predictions"
        (folder / "new").mkdir()
        pq.write_table(pa.table({"x": range(ROWS)}), folder / "new/0.parquet", row_group_size=10)

    def job(self, **changes: Any) -> Path:
        code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}}
        model = {"framework": "python", "entrypoint": "scoring:Double", "code": {"configMap": "code"}}
        fields = {"model": model, "shardRows": 10, "batchRows": 10, "output.keep": ["x"], **changes}
        fields["env"] = [{"name": "FOLDER", "value": str(self.folder)}]
        job = manifest("BatchInference", "scores", fields)
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump_all([{**code, "data": {"scoring.py": CODE}}, job]))
        return path

    def options(self, *more: str) -> list[str]:
        return ["--mount", f"/data={self.folder}", *more]

    def run(self, *more: str, **changes: Any) -> Result:
        return CliRunner().invoke(main, ["run", str(self.job(**changes)), *self.options(*more)])

    def check(self, expected: list[int]) -> None:
        place = locate(self.output)
        done = commit.read_manifest(place)
        commit.verify(place, done)
        rows = pa.concat_tables(pq.read_table(self.output / part.name) for part in done.parts)
        assert rows.to_pydict() == {"x": expected, "prediction": [2 * x for x in expected]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    return Here(tmp_path)


def test_rows_are_predicted_once_and_an_output_is_not_written_over(here: Here) -> None:
    done = here.run()
    assert done.exit_code == 0, done.output
    assert "mlpools: shards 10 of 10, 0 failed, rows 100 of 100" in done.output
    last = done.output.splitlines()[-1]
    assert last == f"mlpools: Predicted 100 rows in 10 shards. Output: file://{here.output}"
    here.check(list(range(ROWS)))

    again = here.run()
    assert again.exit_code == Exit.OUTPUT_EXISTS
    [said] = [line for line in again.output.splitlines() if line.startswith("mlpools: OutputExists: ")]
    assert said.count("Overwrite") == 1
    assert here.run("--mode", "Resume").exit_code == 0


def test_shards_that_failed_are_listed(here: Here) -> None:
    (here.folder / "poison-30").touch()
    failed = here.run()
    assert failed.exit_code == Exit.SHARDS_FAILED
    assert "mlpools: ShardsFailed: 1 of 10 shards failed, and maxShardFailures is 0." in failed.output
    assert "row 30 of " in failed.output
    assert "ValueError: no 30" in failed.output
    assert not (here.output / "_SUCCESS").exists()

    partial = here.run("--mode", "Resume", maxShardFailures=1)
    assert partial.exit_code == 0, partial.output
    *_, listed, last = partial.output.splitlines()
    assert listed.startswith("mlpools: shard 3: The model fails on row 30 of ")
    assert "Predicted 90 rows in 9 shards. 1 of 10 shards with 10 rows failed" in last
    here.check([x for x in range(ROWS) if x // 10 != 3])


def test_rows_without_a_prediction_are_listed(here: Here) -> None:
    (here.folder / "poison-30").touch()
    done = here.run(onError="Null", batchRows=1)
    assert done.exit_code == 0, done.output
    *_, listed, last = done.output.splitlines()
    assert listed == f"mlpools: row 30 of {here.folder}/new/0.parquet: ValueError: no 30"
    assert "One row has no prediction, but an error in the column _error" in last


def test_a_node_that_fails_leaves_its_rows_to_the_others(here: Here) -> None:
    (here.folder / "fail-1").touch()
    done = here.run("--nodes", "2")
    assert done.exit_code == 0, done.output
    assert "[1] mlpools: rank 1: " in done.output
    assert "no GPU here" in done.output
    here.check(list(range(ROWS)))


def test_an_interrupt_keeps_what_is_written_and_resume_does_the_rest(here: Here) -> None:
    (here.folder / "block-50").touch()
    job = here.job()
    command = [sys.executable, "-m", "mlpools_cli", "run", str(job), *here.options()]
    with subprocess.Popen(command, env=ENVIRON, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "shards 5 of 10" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == Exit.PREEMPTED, rest
    last = rest.splitlines()[-1]
    assert "Stopped as asked. 5 of 10 shards are written and stay; to go on from there: " in last
    assert f"mlpools run {job} --mode Resume" in last
    before = {path.name: path.stat().st_ino for path in here.output.glob("part-*")}
    assert len(before) == 5
    (here.folder / "block-50").unlink()
    done = here.run("--mode", "Resume")
    assert done.exit_code == 0, done.output
    here.check(list(range(ROWS)))
    assert before.items() <= {path.name: path.stat().st_ino for path in here.output.glob("part-*")}.items()


def test_a_model_that_does_not_fit_is_one_sentence_and_leaves_nothing(here: Here) -> None:
    failed = here.run(**{"input.features": ["xx"]})
    assert failed.exit_code == Exit.MODEL_MISMATCH
    last = failed.output.splitlines()[-1]
    assert last.startswith(
        "mlpools: ModelMismatch: The feature 'xx' of the Python model is not in the input."
    )
    assert "Did you mean 'x'?" in last
    assert last.endswith(f"Log: file://{here.output}/logs/attempt-1/rank-0.log")
    assert [path.name for path in here.output.iterdir()] == ["logs"]
    assert here.run().exit_code == 0  # the place is as it was


def test_nodes_of_one_machine_share_its_memory(here: Here) -> None:
    done = here.run("--nodes", "2", **{"model.entrypoint": "scoring:memory"})
    assert done.exit_code == 0, done.output
    [each] = set(rows_of(locate(here.output))["prediction"].to_pylist())
    assert each == pytest.approx(budgets.memory() / 2, rel=0.01)


def test_the_line_of_progress_has_shards_rows_and_speed() -> None:
    shards, rows = {"total": 20, "done": 11, "failed": 1}, {"total": 2000, "done": 1120, "failed": 100}
    report = Report("Working", shards=shards, rows=rows, rows_per_second=1.2e6, eta_seconds=40)
    assert describe("scores", report) == (
        "scores  11 of 20 shards, 1 failed  1,120 of 2,000 rows  61% 1.2M rows/s 40s"
    )
