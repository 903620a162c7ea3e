"""``mlpools run``: jobs of real files, with real ranks."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Report
from mlpools_cli.__main__ import main
from mlpools_cli.screen import Screen
from tests.support.flights import write_flights
from tests.support.manifests import ABSENT, manifest
from tests.support.pods import read_history

ROOT = Path(__file__).parents[2]
ENVIRON = {**os.environ, "PYTHONPATH": f"{ROOT / 'workloads'}{os.pathsep}{ROOT / 'operator'}"}


class Here:
    """A folder with flights, a manifest, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "model"
        write_flights(folder, 1_000)

    def job(self, **changes: Any) -> Path:
        data = {"data.eval": {"parquet": {"url": "/data/eval.parquet"}}}
        fields = {"xgboost": {"label": "arr_delay", "rounds": 8}, "nodes": 2, **data, **changes}
        path = self.folder / "job.yaml"
        pool = manifest("ComputePool", "cpu")
        path.write_text(yaml.safe_dump_all([pool, manifest("TrainingJob", "delay", fields)]))
        return path

    def options(self, *more: str) -> list[str]:
        return ["--mount", f"/data={self.folder}", *more]

    def run(self, *more: str, **changes: Any) -> Result:
        return CliRunner().invoke(main, ["run", str(self.job(**changes)), *self.options(*more)])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    return Here(tmp_path)


def test_a_job_trains_on_two_ranks_and_leaves_what_it_leaves_in_a_cluster(here: Here) -> None:
    done = here.run()
    assert done.exit_code == 0, done.output
    assert "mlpools: ComputePool cpu is of a cluster and ignored here" in done.output
    assert "[0] mlpools: round 8 of 8, train-rmse" in done.output
    assert "Trained 8 rounds on 2 nodes: eval-rmse" in done.output
    assert f"Model: file://{here.output}/model.ubj" in done.output
    result = json.loads((here.output / "result.json").read_text())
    assert (result["worldSize"], result["job"]["name"]) == (2, "delay")
    assert [rank["rank"] for rank in result["ranks"]] == [0, 1]
    left = {"model.ubj", "metrics.jsonl", "importance.csv", "learning_curve.png", "owner.json", "logs"}
    assert {path.name for path in here.output.iterdir()} == {*left, "result.json"}

    again = here.run()
    assert again.exit_code == Exit.OUTPUT_EXISTS
    assert "mlpools: OutputExists: " in again.output
    assert "--mode Overwrite or Resume" in again.output


def test_a_failure_is_one_sentence_with_its_exit_code_and_its_log(here: Here) -> None:
    failed = here.run("--nodes", "1", **{"xgboost.label": "arr_dely"})
    assert failed.exit_code == Exit.DATA_NOT_READABLE
    last = failed.output.splitlines()[-1]
    assert last.startswith("mlpools: DataNotReadable: ")
    assert "Did you mean 'arr_delay'?" in last
    assert last.endswith(f"Log: file://{here.output}/logs/attempt-1/rank-0.log")
    assert "Traceback" not in failed.output


def test_what_is_wrong_is_said_before_anything_runs(here: Here) -> None:
    failed = here.run(**{"xgboost.params": {"max_dept": 3}})
    assert failed.exit_code == Exit.BAD_HYPER_PARAMETER
    assert "mlpools: BadHyperParameter: " in failed.output
    unmapped = CliRunner().invoke(main, ["run", str(here.job())])
    assert unmapped.exit_code == Exit.INVALID_SPEC
    assert "--mount /data=FOLDER" in unmapped.output
    for wrong in ("/data", "/data=", "=x"):
        done = CliRunner().invoke(main, ["run", str(here.job()), "--mount", wrong])
        assert "is not of the form NAME=FOLDER" in done.output
    missing = CliRunner().invoke(main, ["run", str(here.job()), "--mount", "/data=/no/such/place"])
    assert "there is no folder /no/such/place" in missing.output


def test_an_interrupt_saves_a_checkpoint_and_resume_goes_on_from_it(here: Here) -> None:
    job = here.job(**{"xgboost.rounds": 100_000})
    command = [sys.executable, "-m", "mlpools_cli", "run", str(job), *here.options()]
    with subprocess.Popen(command, env=ENVIRON, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "round 1 of" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == Exit.PREEMPTED, rest
    last = rest.splitlines()[-1]
    saved = int(last.partition("Step ")[2].split()[0])
    assert f"to go on from there: mlpools run {job} --mode Resume" in last
    assert saved >= 1
    done = here.run("--mode", "Resume", **{"xgboost.rounds": saved + 3})
    assert done.exit_code == 0, done.output
    result = json.loads((here.output / "result.json").read_text())
    assert result["resumedFromStep"] == saved
    assert len(read_history(here.output)["step"]) == saved + 3


def test_a_database_s_secret_is_a_folder(here: Here, tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "rows.db") as database:
        database.execute("CREATE TABLE rows (x REAL, y REAL)")
        database.executemany("INSERT INTO rows VALUES (?, ?)", [(i, i % 7) for i in range(200)])
    database.close()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "uri").write_text(f"sqlite://{tmp_path}/rows.db")
    source = {"sql": {"connectionSecret": "db", "query": "SELECT * FROM rows"}}
    section = {"label": "y", "rounds": 3}
    done = here.run(
        "--keys", f"db={tmp_path / 'keys'}", "--nodes", "1", data={"train": source}, xgboost=section
    )
    assert done.exit_code == 0, done.output
    assert json.loads((here.output / "result.json").read_text())["rows"] == {"train": 200}


SCRIPT = """
import os
print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"])
if os.environ["RANK"] == "0":
    open(os.path.join(os.environ["MLPOOLS_OUTPUT"], "said.txt"), "w").write(open("words.txt").read())
"""


def test_a_script_of_a_config_map_in_the_same_file_runs_on_each_node(here: Here) -> None:
    keys = {"train.py": SCRIPT, "words.txt": "one, two"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": keys}
    section = {"file": "train.py", "code": {"configMap": "code"}}
    changes = {"xgboost": ABSENT, "data": ABSENT, "script": section, "nodes": 2}
    job = here.folder / "job.yaml"
    job.write_text(yaml.safe_dump_all([config, manifest("TrainingJob", "said", changes)]))
    done = CliRunner().invoke(main, ["run", str(job), *here.options()])
    assert done.exit_code == 0, done.output
    assert {"[0] rank 0 of 2", "[1] rank 1 of 2"} <= set(done.output.splitlines())
    assert done.output.splitlines()[-1].startswith("mlpools: Ran on 2 nodes. Model: ")
    assert (here.output / "model" / "said.txt").read_text() == "one, two"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_line_of_progress_stays_below_the_log() -> None:
    out = Terminal()
    screen = Screen("delay", 2, out)
    screen.report(Report("Data", message="Reading data."))
    screen.line(1, "loading")
    metrics = {"train-rmse": 16.1, "eval-rmse": 17.93}
    screen.report(
        Report("Working", step=122, total_steps=200, rows_per_second=1.2e6, eta_seconds=40, metrics=metrics)
    )
    screen.line(0, "mlpools: round 122 of 200, train-rmse 16.1")
    screen.close()
    clear = "\r\x1b[2K"
    first = "delay  Data  Reading data."
    assert out.getvalue().startswith(
        f"{clear}{first}{clear}[1] loading\n{first}{clear}delay  step 122 of 200  61% eval-"
    )
    assert out.getvalue().endswith(f"1,200,000 rows/s{clear}")


def test_elsewhere_there_are_lines_only() -> None:
    out = io.StringIO()
    screen = Screen("delay", 1, out)
    screen.report(Report("Working", step=1, total_steps=2))
    screen.line(0, "mlpools: round 1 of 2, train-rmse 16.1")
    screen.close()
    assert out.getvalue() == "mlpools: round 1 of 2, train-rmse 16.1\n"


@pytest.mark.parametrize(
    ("codes", "failed"),
    [
        ((Exit.PEER_LOST, Exit.SIGNAL, Exit.PEER_LOST), 1),
        ((Exit.DATA_NOT_READABLE, Exit.DATA_NOT_READABLE, Exit.PEER_LOST), 0),
        ((Exit.PREEMPTED, Exit.PREEMPTED, Exit.DONE), None),
    ],
)
def test_the_log_of_the_first_rank_that_failed_by_itself_is_named(
    codes: tuple[Exit, ...], failed: int | None
) -> None:
    screen = Screen("delay", 3, io.StringIO())
    for rank, code in enumerate(codes):
        screen.ended(Final(code, rank, checkpoint_step=7))
    assert (screen.failed, screen.saved) == (failed, 7)


HELP = """
import sys
from mlpools_cli.__main__ import main
main(["run", "--help"], standalone_mode=False)
print(sorted({"pydantic", "numpy", "pyarrow", "xgboost"} & set(sys.modules)))
"""


def test_help_is_there_without_anything_heavy() -> None:
    command = [sys.executable, "-c", HELP]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, check=True)
    assert "--mount" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
