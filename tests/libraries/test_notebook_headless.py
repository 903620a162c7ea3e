"""A document runs without anybody, with a real kernel: with values, to an error, and until it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mlpools.contract.wiring import OUTPUT_URL_ENV, REPORT_PIPE_ENV, WORKSPACE_ENV
from mlpools.notebook import kept
from mlpools.notebook.kept import Record
from mlpools.train.script.program import judge
from tests.support.waiting import wait_for

NAME = "reports/daily.ipynb"
LONG = 'open("begun", "w").close()\nprint("so far", flush=True)\nimport time\ntime.sleep(600)'


def code(text: str, *tags: str) -> Any:
    return nbformat.v4.new_code_cell(text, metadata={"tags": list(tags)})


class Headless:
    """A workspace, and the runs of its document."""

    def __init__(self, folder: Path) -> None:
        self.workspace, self.output = folder / "workspace", folder / "workspace" / "runs" / "first"
        (self.workspace / "reports").mkdir(parents=True)

    @property
    def became(self) -> list[Any]:
        """The code cells of what the document became."""
        document = nbformat.read(self.output / "daily.ipynb", as_version=4)
        nbformat.validate(document)
        return [it for it in document.cells if it.cell_type == "code"]

    def write(self, *cells: Any, **metadata: Any) -> None:
        document = nbformat.v4.new_notebook(cells=list(cells), metadata=metadata)
        nbformat.write(document, self.workspace / NAME)

    def start(self, *words: str, name: str = NAME) -> subprocess.Popen[str]:
        paths = ":".join(path for path in sys.path if path)
        environ = {
            **os.environ,
            "PYTHONPATH": paths,
            "TMPDIR": str(self.workspace.parent),
            WORKSPACE_ENV: str(self.workspace),
            OUTPUT_URL_ENV: f"file://{self.output}",
        }
        environ.pop(REPORT_PIPE_ENV, None)
        command = [sys.executable, "-m", "mlpools.notebook.headless", name, *words]
        return subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *words: str, name: str = NAME) -> tuple[int, str]:
        """Run it and return its exit code and what it said."""
        with self.start(*words, name=name) as process:
            said, _ = process.communicate(timeout=200)
        return process.returncode, said


@pytest.fixture
def headless(tmp_path: Path) -> Headless:
    return Headless(tmp_path)


def message(code: int, said: str) -> str:
    """What the status of the run says."""
    return str(judge(code, 0, "mlpools.notebook.headless", said))


def test_values_are_put_in_after_the_cell_for_them_and_the_document_stays_as_it_is(
    headless: Headless,
) -> None:
    headless.write(code("a = 1\nb = 2", "parameters"), code("print(a, b, c, text)"))
    (headless.workspace / "reports" / "beside.txt").write_text("beside")
    before = (headless.workspace / NAME).read_bytes()
    given = {"a": None, "c": {"deep": [True, 0.5]}, "text": 'it\'s "$HOME"'}
    code_, said = headless.run(*(f"{name}={json.dumps(value)}" for name, value in given.items()))
    assert (code_, "cell 3 of 3" in said) == (0, True), said
    parameters, injected, shown = headless.became
    assert injected.metadata.tags == ["injected-parameters"]
    assert injected.source.startswith("# Parameters\na = None\nc = {'deep': [True, 0.5]}\n")
    assert shown.outputs[0].text == "None 2 {'deep': [True, 0.5]} it's \"$HOME\"\n"
    assert (parameters.execution_count, shown.execution_count) == (1, 3)
    assert (headless.workspace / NAME).read_bytes() == before


def test_without_a_cell_for_them_they_come_first_and_it_runs_where_the_document_is(
    headless: Headless,
) -> None:
    headless.write(code("print(open('beside.txt').read(), day)\nimport os; print(os.environ['HOME'])"))
    (headless.workspace / "reports" / "beside.txt").write_text("beside")
    ended, said = headless.run('day="2026-11-23"')
    assert ended == 0, said
    assert headless.became[1].outputs[0].text == f"beside 2026-11-23\n{headless.workspace}\n"


def test_a_cell_that_fails_ends_it_and_one_sentence_says_where_and_how(headless: Headless) -> None:
    headless.write(
        code("print('ValueError: not this one')"),
        code("x = 0\n\ndef half():\n    return 1 / x\n\nhalf()"),
        code("print('never')"),
    )
    ended, said = headless.run()
    assert message(ended, said) == (
        "Rank 0: mlpools.notebook.headless ended with exit code 1: ZeroDivisionError in cell 2, line 6, of "
        "reports/daily.ipynb: division by zero."
    )
    first, failed, unreached = headless.became
    assert first.outputs[0].text == "ValueError: not this one\n"
    assert failed.outputs[0].ename == "ZeroDivisionError"
    assert (unreached.outputs, unreached.execution_count) == ([], None)


def test_an_error_by_any_name_and_a_kernel_that_dies_are_told(headless: Headless) -> None:
    headless.write(code("class Boom(BaseException): pass\nprint('KeyError: no')\nraise Boom('bang')"))
    assert "Error Boom in cell 1, line 3, of reports/daily.ipynb: bang." in message(*headless.run())
    headless.write(code("a = 1"), code("import os\nos.kill(os.getpid(), 9)"))
    assert "DeadKernelError in cell 2 of reports/daily.ipynb" in message(*headless.run())
    assert headless.became[0].execution_count == 1


def test_one_that_is_told_to_end_leaves_what_it_had(headless: Headless) -> None:
    headless.write(code("print('done')"), code(LONG), code("print('never')"))
    with headless.start() as process:
        wait_for("a cell that runs", (headless.workspace / "reports" / "begun").exists, 100)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode != 0
    first, running, unreached = headless.became
    assert (first.outputs[0].text, running.outputs[0].text) == ("done\n", "so far\n")
    assert unreached.outputs == []


def test_one_that_is_killed_leaves_the_cells_before(headless: Headless) -> None:
    headless.write(code("print('done')"), code(LONG))
    with headless.start() as process:
        wait_for("a cell that runs", (headless.workspace / "reports" / "begun").exists, 100)
        process.kill()
        process.wait(60)
    first, running = headless.became
    assert (first.outputs[0].text, running.outputs) == ("done\n", [])


def test_what_was_printed_before_is_not_taken_for_this_run(headless: Headless) -> None:
    old = code("raise KeyError('x')")
    later = code("print(1)")
    later.outputs, later.execution_count = [nbformat.v4.new_output("stream", text="old")], 7
    headless.write(old, later)
    assert "KeyError in cell 1, line 1" in message(*headless.run())
    assert headless.became[1].outputs == []


def test_packages_of_the_notebook_are_there_and_others_are_said(headless: Headless, tmp_path: Path) -> None:
    headless.write(code("import ours; print(ours.VALUE)"))
    asked = "import sys; from mlpools.notebook import kept; print(kept.image(sys.path))"
    environ = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    image = subprocess.run(
        [sys.executable, "-c", asked], env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()
    library = kept.library(headless.workspace, image)
    library.mkdir(parents=True)
    (library / "ours.py").write_text("VALUE = 'kept'")
    record = kept.record_file(headless.workspace)
    record.write_text(Record(["ours"], [], image).to_json())
    ended, said = headless.run()
    assert (ended, headless.became[0].outputs[0].text) == (0, "kept\n"), said
    record.write_text(Record(["ours"], [], "another").to_json())
    assert "are for another image" in headless.run()[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no notebook reports/daily.ipynb in the workspace"),
        ("{}", "reports/daily.ipynb is no notebook of Jupyter"),
        ("no JSON", "reports/daily.ipynb is no notebook of Jupyter"),
    ],
)
def test_what_is_no_notebook_is_said(headless: Headless, content: str | None, words: str) -> None:
    if content is not None:
        (headless.workspace / NAME).write_text(content)
    assert words in message(*headless.run())


def test_a_kernel_that_the_image_does_not_have_is_named(headless: Headless) -> None:
    headless.write(code("1"), kernelspec={"name": "julia", "display_name": "Julia"})
    assert "asks for the kernel 'julia'" in message(*headless.run())
