"""A run of a document as its pod has it: under the supervisor, as the script of a job."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import Task
from mlpools.contract.wiring import WORKSPACE_ENV
from tests.support.documents import NAME, Documents, code
from tests.support.pods import Pods, read_json, task, wait_for

#: Waits in its first attempt only.
WAITS = """
import mlpools, os, pathlib, time
print("place" if "RANK" in os.environ else "no place", os.environ["MLPOOLS_JOB"], day)
mlpools.report(9, metrics={"no": 1})
if not pathlib.Path("begun").exists():
    pathlib.Path("begun").touch()
    time.sleep(600)
"""


class Runs(Documents):
    """Attempts of one run."""

    def work(self, attempt: int = 1, **values: object) -> Task:
        words = [f"{name}={json.dumps(value)}" for name, value in values.items()]
        spec = {"module": "mlpools.notebook.headless", "args": [NAME, *words]}
        made = task(self.output, framework="script", spec=spec, attempt=attempt)
        return replace(made, hang_timeout_seconds=0)

    def pods(self, work: Task) -> Pods:
        folder = self.workspace.parent
        environ = {WORKSPACE_ENV: str(self.workspace), "TMPDIR": str(folder)}
        return Pods(work, folder / f"pods-{work.attempt}", environ=environ)

    def run(self, work: Task) -> Final:
        with self.pods(work) as pods:
            [final] = pods.wait(200)
        return final


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_a_pod_that_is_told_to_go_keeps_what_is_done_and_the_next_one_ends_it(runs: Runs) -> None:
    runs.write(code("print('done')"), code(WAITS))
    with runs.pods(runs.work(day="2026-11-23")) as pods:
        wait_for((runs.workspace / "reports" / "begun").exists, what="a cell that runs")
        os.kill(pods[0].process.pid, signal.SIGTERM)
        [final] = pods.wait(100)
    assert final.code == Exit.PREEMPTED, final
    assert runs.state == ("Stopped", "Told to stop in cell 3 of reports/daily.ipynb.")
    second = runs.run(runs.work(2, day="2026-11-23"))
    assert (second.code, second.step, second.metrics) == (Exit.DONE, 3, {}), second
    assert runs.state == ("Complete", "")
    assert runs.cells[2].outputs[0].text == "no place team-a/job 2026-11-23\n"
    before = runs.became("daily.before-attempt-2.ipynb")
    assert (before.metadata["mlpools"]["state"], before.cells[1].outputs[0].text) == ("Stopped", "done\n")
    assert read_json(runs.output / "result.json")["parameters"]["args"] == [NAME, 'day="2026-11-23"']


def test_a_cell_that_fails_is_the_end_of_the_job_in_its_words(runs: Runs) -> None:
    runs.write(code("print('done')"), code("{}['delay']"))
    final = runs.run(runs.work())
    words = "KeyError in cell 2, line 1, of reports/daily.ipynb: 'delay'."
    assert final.code == Exit.USER_CODE
    assert final.message == f"Rank 0: mlpools.notebook.headless ended with exit code 1: {words}"
    assert runs.state == ("Failed", words)
    assert not (runs.output / "result.json").exists()
