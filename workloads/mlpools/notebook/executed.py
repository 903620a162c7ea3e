"""A document, and the copy of it with outputs that a run leaves, which says itself how the run ended."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

from mlpools.contract.wiring import ATTEMPT_ENV, JOB_ENV
from mlpools.errors import CodeNotReadable
from mlpools.storage.local import LocalPlace

_VERSION = 4
#: Cells of older documents have no ids, and must have none.
_MINOR_WITH_IDS = 5
#: What papermill calls them, so that documents are the same for both.
_PARAMETERS, _INJECTED = "parameters", "injected-parameters"
_WORDS = 200


class Executed:
    """What becomes of a document.

    Attributes:
        name: of the document, as its path in the workspace.
        folder: that the document is in.
        path: of the copy.
        document: its content, which the run changes.
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
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CodeNotReadable(f"{name} leads out of the workspace: name a notebook in it.")
        source = workspace / name
        self.name, self.folder, self.path = name, source.parent, output / source.name
        try:
            self.document = nbformat.read(source, as_version=_VERSION)
            _clear(self.document)
            nbformat.validate(self.document, relax_add_props=True)
        except OSError as error:
            raise CodeNotReadable(
                f"There is no notebook {name} in the workspace, or it cannot be read: {error.strerror}."
            ) from error
        except Exception as error:  # whatever nbformat makes of a file that is no notebook
            said = textwrap.shorten(str(error).partition("\n")[0], _WORDS, placeholder=" …").rstrip(".")
            raise CodeNotReadable(f"{name} is no notebook of Jupyter: {said}.") from error

    @property
    def kernel(self) -> str:
        """Name of the kernel that it asks for."""
        return str(self.document.metadata.get("kernelspec", {}).get("name") or "python3")

    def put_in(self, parameters: Mapping[str, Any]) -> None:
        """Put values in as papermill does: after the cell tagged ``parameters``, else before the first.

        Those that papermill, or a run, put in before are replaced.
        """
        if not parameters:
            return
        lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())]
        cell = nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": [_INJECTED]})
        if self.document.nbformat_minor < _MINOR_WITH_IDS:
            del cell["id"]
        cells = self.document.cells
        injected, defaults = _tagged(cells, _INJECTED), _tagged(cells, _PARAMETERS)
        if injected is not None:
            cells[injected] = cell
        else:
            cells.insert(0 if defaults is None else defaults + 1, cell)

    def make_way(self) -> None:
        """Put aside what an attempt that was lost has left."""
        if self.path.exists():
            before = f"{self.path.stem}.before-attempt-{_attempt()}{self.path.suffix}"
            self.path.replace(self.path.with_name(before))

    def keep(self, state: str, message: str = "") -> None:
        """Write the copy as it is now.

        Args:
            state: of the run.
            message: how it ended, if not well.

        Raises:
            OutputNotWritable: the volume does not take it.
        """
        run = {"run": os.environ.get(JOB_ENV, ""), "attempt": _attempt(), "state": state, "message": message}
        self.document.metadata["mlpools"] = run
        LocalPlace(self.path).write(nbformat.writes(self.document).encode(), once=False)


def _clear(document: Any) -> None:
    """Take away what earlier runs left: what a cell that was not reached shows would be a lie."""
    document.metadata.pop("widgets", None)
    for cell in document.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.metadata.pop("execution", None)


def _tagged(cells: Sequence[Any], tag: str) -> int | None:
    """Return where the first cell with a tag is."""
    return next((at for at, cell in enumerate(cells) if tag in cell.metadata.get("tags", ())), None)


def _attempt() -> int:
    return int(os.environ.get(ATTEMPT_ENV, "1"))
