"""A document runs without anybody, with a real kernel: with values, to an error, and until it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import OUTPUT_URL_ENV, PACKAGES_ENV, REPORT_PIPE_ENV, TASK_ENV, WORKSPACE_ENV
from mlpools.notebook import kept
from mlpools.notebook.kept import Record
from mlpools.supervisor.notebook.surroundings import Surroundings
from mlpools.supervisor.settings import Settings
from mlpools.train.script.program import judge
from tests.support.documents import NAME, Documents, code
from tests.support.pods import task
from tests.support.waiting import wait_for

WORKLOADS = Path(__file__).resolve().parents[2] / "workloads"
LONG = 'print("so far", flush=True)\nopen("begun", "w").close()\nimport time\ntime.sleep(600)'
#: Ends neither by an interrupt nor by SIGTERM.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("so far", flush=True)
open("pid", "w").write(str(os.getpid()))
os.rename("pid", "begun")
while True:
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        pass
"""
#: What a cell finds around it.
FOUND = """
import json, os, shutil, sys
import ours, theirs
gang = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MLPOOLS_REPORT_PIPE") if name in os.environ]
home, tool = os.path.expanduser("~"), shutil.which("our-tool")
print(json.dumps([ours.__file__, theirs.__file__, tool, home, sys.executable, gang]))
"""


@dataclass(frozen=True)
class Ended:
    """A run that has ended: how, and what it said."""

    code: int
    said: str

    @property
    def message(self) -> str:
        """What the status of the run says."""
        return str(judge(self.code, 0, "mlpools.notebook.headless", self.said))


class Headless(Documents):
    """Runs of a document."""

    @property
    def begun(self) -> Path:
        """File that a cell makes."""
        return self.workspace / "reports" / "begun"

    @contextmanager
    def start(self, *words: str, environ: Mapping[str, str] = os.environ) -> Iterator[subprocess.Popen[str]]:
        """Start it; it does not outlive the test."""
        environ = {
            "PYTHONPATH": ":".join(path for path in sys.path if path),
            **environ,
            "TMPDIR": str(self.workspace.parent),
            WORKSPACE_ENV: str(self.workspace),
            OUTPUT_URL_ENV: f"file://{self.output}",
        }
        command = [sys.executable, "-m", "mlpools.notebook.headless", NAME, *words]
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *words: str, environ: Mapping[str, str] = os.environ) -> Ended:
        with self.start(*words, environ=environ) as process:
            said, _ = process.communicate(timeout=200)
        return Ended(process.returncode, said)

    def kernel(self, name: str, *command: str) -> None:
        """Describe a kernel in the notebook's home."""
        folder = self.workspace / ".local" / "share" / "jupyter" / "kernels" / name
        folder.mkdir(parents=True)
        told = {"argv": command, "display_name": name, "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(told))


@pytest.fixture
def headless(tmp_path: Path) -> Headless:
    return Headless(tmp_path)


def test_values_are_put_in_and_the_document_stays_as_it_is(headless: Headless) -> None:
    headless.write(code("a = 1\nb = 2", "parameters"), code("print(open('beside.txt').read(), a, b, text)"))
    (headless.workspace / "reports" / "beside.txt").write_text("beside")
    before = (headless.workspace / NAME).read_bytes()
    given = {"a": None, "text": 'it\'s "$HOME"'}
    ended = headless.run(*(f"{name}={json.dumps(value)}" for name, value in given.items()))
    assert (ended.code, "cell 3 of 3" in ended.said) == (0, True), ended
    parameters, injected, shown = headless.cells
    assert injected.metadata.tags == ["injected-parameters"]
    assert shown.outputs[0].text == 'beside None 2 it\'s "$HOME"\n'
    assert (parameters.execution_count, shown.execution_count) == (1, 3)
    assert headless.state == ("Complete", "")
    assert (headless.workspace / NAME).read_bytes() == before


def test_a_cell_that_fails_ends_it_and_one_sentence_says_where_and_how(headless: Headless) -> None:
    headless.write(
        code("print('ValueError: not this one')"),
        code("x = 0\n\ndef half():\n    return 1 / x\n\nhalf()"),
        code("print('never')"),
    )
    ended = headless.run()
    words = "ZeroDivisionError in cell 2, line 6, of reports/daily.ipynb: division by zero."
    assert ended.message == f"Rank 0: mlpools.notebook.headless ended with exit code 1: {words}"
    assert headless.state == ("Failed", words)
    first, failed, unreached = headless.cells
    assert first.outputs[0].text == "ValueError: not this one\n"
    assert failed.outputs[0].ename == "ZeroDivisionError"
    assert (unreached.outputs, unreached.execution_count) == ([], None)


def test_an_error_by_any_name_and_a_kernel_that_dies_are_told(headless: Headless) -> None:
    headless.write(
        code("class Boom(BaseException): pass\nprint('KeyError: no')\nraise Boom('bang\\n' + 'x' * 20_000)")
    )
    assert "Error Boom in cell 1, line 3, of reports/daily.ipynb: bang" in headless.run().message
    assert len(headless.state[1]) < 500
    headless.write(code("a = 1"), code("import os\nos._exit(3)"))
    assert "DeadKernelError in cell 2 of reports/daily.ipynb" in headless.run().message
    assert headless.cells[0].execution_count == 1
    assert headless.state[0] == "Failed"


def test_one_that_is_told_to_end_leaves_what_it_had_and_no_kernel(headless: Headless) -> None:
    headless.write(code("print('done')"), code(STUBBORN), code("print('never')"))
    with headless.start() as process:
        wait_for("a cell that runs", headless.begun.exists, 100)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 1, said
    first, running, unreached = headless.cells
    assert (first.outputs[0].text, running.outputs[0].text) == ("done\n", "so far\n")
    assert unreached.outputs == []
    assert headless.state == ("Stopped", "Told to stop in cell 2 of reports/daily.ipynb.")
    assert not Path("/proc", headless.begun.read_text()).exists()


def test_one_that_is_killed_leaves_the_cells_before(headless: Headless) -> None:
    headless.write(code("print('done')"), code(LONG))
    with headless.start() as process:
        wait_for("a cell that runs", headless.begun.exists, 100)
        process.kill()
        process.wait(60)
    first, running = headless.cells
    assert (first.outputs[0].text, running.outputs) == ("done\n", [])
    assert headless.state == ("Running", "")


def test_a_cell_finds_what_it_finds_in_the_notebook(headless: Headless, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "lib" / "theirs-1.dist-info").mkdir(parents=True)
    (packages / "lib" / "theirs.py").touch()
    environ = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    notebook = Surroundings(
        Notebook("team-a", "alice", "u", 1, 8888, 5, 5),
        headless.workspace,
        str(packages),
        {**environ, "TMPDIR": str(tmp_path)},
    )
    notebook.settle()
    (notebook.library / "bin").mkdir(parents=True)
    (notebook.library / "bin" / "our-tool").touch(0o755)
    (notebook.library / "ours.py").touch()
    (notebook.library / "ours-1.0.dist-info").mkdir()
    (notebook.library / "ours-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n"
    )
    pinned = [{"name": "ours", "version": "1.0", "hashes": []}]
    record = kept.record_file(headless.workspace)
    record.write_text(Record(["ours"], pinned, notebook.library.name).to_json())
    there = subprocess.run(
        [sys.executable, "-c", FOUND], env=notebook.of_program(), capture_output=True, text=True, check=True
    )
    work = task(headless.output, framework="script", spec={}, packages={"wanted": ["theirs"]})
    job = Settings.from_environment({TASK_ENV: work.to_json(), PACKAGES_ENV: str(packages)})
    in_job = {**environ, **job.worker_environment(0, threads=1), REPORT_PIPE_ENV: str(tmp_path / "pipe")}
    in_job["PYTHONPATH"] = f"{packages / 'lib'}:{environ['PYTHONPATH']}"
    connected = "from ipykernel.connect import get_connection_info as it\nprint(it(unpack=True)['transport'])"
    headless.write(code(FOUND), code(connected))
    ended = headless.run(environ=in_job)
    assert ended.code == 0, ended
    found, transport = (cell.outputs[0].text for cell in headless.cells)
    assert json.loads(found) == json.loads(there.stdout)
    assert json.loads(found)[2] == str(notebook.library / "bin" / "our-tool")
    assert transport == "ipc\n"
    newer = [{**pinned[0], "version": "2.0"}]
    for changed in (Record(["ours"], pinned, "another"), Record(["ours"], newer, notebook.library.name)):
        record.write_text(changed.to_json())
        assert "start the notebook once" in headless.run(environ=in_job).message


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], "reports/daily.ipynb asks for the kernel 'own', and this image has none of that name"),
        (["/no/such/program"], "the kernel 'own' of reports/daily.ipynb does not start: [Errno 2] No such"),
        (
            [sys.executable, "-c", "import no_such"],
            "'own' of reports/daily.ipynb does not start: Kernel died",
        ),
    ],
)
def test_a_kernel_that_cannot_start_is_said(headless: Headless, command: list[str], words: str) -> None:
    if command:
        headless.kernel("own", *command)
    headless.write(code("1"), kernelspec={"name": "own", "display_name": "Own"})
    assert words in headless.run().message
    assert words in headless.state[1]


def test_an_image_without_nbclient_is_told_what_it_needs(headless: Headless) -> None:
    headless.write(code("1"))
    command = [sys.executable, "-S", "-m", "mlpools.notebook.headless", NAME]
    environ = {"PYTHONPATH": str(WORKLOADS), OUTPUT_URL_ENV: f"file://{headless.output}"}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert "This image cannot run documents, since it has no nbclient" in Ended(1, ended.stdout).message
    assert ended.stderr == ""
