"""``python -m mlpools.notebook.headless DOCUMENT [NAME=JSON ...]``: runs a document of a notebook.

The document stays as it is. What becomes of it is written beside the run's other results, anew after each
cell, so that it is there however the run ends. Its kernel finds what the notebook's own kernels find.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from mlpools.contract import wiring
from mlpools.errors import CodeNotReadable, InvalidSpec, JobError, UserCodeError, one_line
from mlpools.notebook import kept
from mlpools.reporting import report
from mlpools.storage import local
from mlpools.train.reporter import log

_VERSION = 4
#: What papermill calls them, so that documents are the same for both.
_PARAMETERS, _INJECTED = "parameters", "injected-parameters"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
#: Where a traceback of IPython says in which line of which cell an error is.
_PLACE = r"Cell In\[{}\], line (\d+)"
#: What a job's log is searched for, to say how a program of Python ended.
_IS_ERROR = re.compile(r"\w*(Error|Exception|Interrupt|Warning)")


class Run:
    """One run of a document.

    Attributes:
        output: the file that it becomes.
    """

    def __init__(self, workspace: Path, name: str, output: Path) -> None:
        """Read the document.

        Args:
            workspace: of the notebook.
            name: path of the document in it.
            output: folder of the run.

        Raises:
            CodeNotReadable: there is none, or it is none.
        """
        self._name, self._path = name, workspace / name
        self.output = output / self._path.name
        try:
            self._document = nbformat.read(self._path, as_version=_VERSION)
        except OSError as error:
            raise CodeNotReadable(
                f"There is no notebook {name} in the workspace, or it cannot be read: {error.strerror}."
            ) from error
        except Exception as error:  # whatever nbformat makes of a file that is no notebook
            raise CodeNotReadable(f"{name} is no notebook of Jupyter: {one_line(error)}.") from error
        _clear(self._document)

    def put_in(self, parameters: Mapping[str, Any]) -> None:
        """Put values in, in a cell after the one tagged ``parameters``, else before the first."""
        cells = [it for it in self._document.cells if _INJECTED not in _tags(it)]
        if parameters:
            lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())]
            metadata = {"tags": [_INJECTED]}
            cell = nbformat.v4.new_code_cell("\n".join(lines), metadata=metadata)
            at = next((at for at, it in enumerate(cells) if _PARAMETERS in _tags(it)), -1)
            cells.insert(at + 1, cell)
        self._document.cells = cells

    def play(self) -> None:
        """Run all cells, the first error ends it.

        Raises:
            UserCodeError: a cell failed; it says which, and how.
            InvalidSpec: the image cannot run it.
        """
        client = NotebookClient(
            self._document,
            timeout=None,
            kernel_name=self._document.metadata.get("kernelspec", {}).get("name", "python3"),
            resources={"metadata": {"path": str(self._path.parent)}},
            on_cell_execute=self._begins,
            on_cell_executed=self._is_over,
        )
        self._save()
        try:
            client.execute()
        except CellExecutionError as error:
            raise UserCodeError(self._failure(error)) from None
        except DeadKernelError:
            words = f"DeadKernelError in cell {self._at} of {self._name}: its process ended"
            raise UserCodeError(f"{words}, perhaps for lack of memory.") from None
        except NoSuchKernel as error:
            raise InvalidSpec(
                f"{self._name} asks for the kernel {error.name!r}, and this image has none of that name."
            ) from None
        finally:
            self._save()

    def _begins(self, cell: Any, **_: Any) -> None:
        cells = [it for it in self._document.cells if it.cell_type == "code"]
        self._at, self._of, self._since = cells.index(cell) + 1, len(cells), time.monotonic()
        self._cell = cell

    def _is_over(self, **_: Any) -> None:
        self._save()
        log(f"cell {self._at} of {self._of}: {time.monotonic() - self._since:.1f} s")
        report(self._at, total=self._of)

    def _failure(self, error: CellExecutionError) -> str:
        traces = (line for it in self._cell.outputs for line in it.get("traceback", ()))
        text = _COLOURS.sub("", "\n".join(traces))
        print(text.replace("\n", "\n  "), flush=True)  # noqa: T201 - for the log
        found = re.search(_PLACE.format(self._cell.execution_count), text)
        line = f", line {found[1]}," if found else ""
        kind = error.ename if _IS_ERROR.fullmatch(error.ename) else f"Error {error.ename}"
        said = f": {one_line(error.evalue)}" if error.evalue.strip() else ""
        return f"{kind} in cell {self._at}{line} of {self._name}{said}".rstrip(".") + "."

    def _save(self) -> None:
        self.output.parent.mkdir(parents=True, exist_ok=True)
        local.write(self.output, nbformat.writes(self._document).encode())


def parameters(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of a command line: words such as ``rounds=20``, whose second part is JSON."""
    pairs = (word.partition("=") for word in words)
    return {name: json.loads(value) for name, _, value in pairs}


def settle(workspace: Path) -> None:
    """Give this process's kernel what the notebook's own kernels have: its home, and its packages."""
    image = kept.image(sys.path)
    record = kept.read(workspace)
    if record.asked and record.image != image:
        log(
            "The packages that were installed in the notebook are for another image, and this run goes "
            "without: start the notebook once to have them again."
        )
    paths = (os.environ.get("PYTHONPATH"), str(kept.library(workspace, image)))
    os.environ["PYTHONPATH"] = ":".join(path for path in paths if path)
    os.environ["HOME"] = str(workspace)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(Path(tempfile.gettempdir()) / "jupyter-runtime")


def main(words: Sequence[str]) -> int:
    """Run a document and return the exit code; the last line says what went wrong."""
    workspace = Path(os.environ.get(wiring.WORKSPACE_ENV, wiring.WORKSPACE))
    folder = Path(os.environ[wiring.OUTPUT_URL_ENV].removeprefix("file://"))
    try:
        run = Run(workspace, words[0], folder)
        run.put_in(parameters(words[1:]))
        settle(workspace)
        run.play()
    except JobError as error:
        print(error, flush=True)  # noqa: T201 - the last line of the log tells how it ended
        return 1
    log(f"{words[0]} ran to its end; {run.output} has its outputs")
    return 0


def _clear(document: Any) -> None:
    """Take away what earlier runs printed: what a cell that was not reached shows would be a lie."""
    for cell in document.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def _tags(cell: Any) -> Sequence[str]:
    tags: Sequence[str] = cell.metadata.get("tags", ())
    return tags


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
