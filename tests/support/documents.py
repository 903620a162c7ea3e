"""A workspace with a document of Jupyter, and what a run made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

NAME = "reports/daily.ipynb"


def code(text: str, *tags: str) -> Any:
    return nbformat.v4.new_code_cell(text, metadata={"tags": list(tags)})


class Documents:
    """The workspace of a notebook.

    Attributes:
        output: folder of a run.
    """

    def __init__(self, folder: Path) -> None:
        self.workspace, self.output = folder / "workspace", folder / "workspace" / "runs" / "first"
        (self.workspace / "reports").mkdir(parents=True)

    def write(self, *cells: Any, minor: int = 5, **metadata: Any) -> None:
        document = nbformat.v4.new_notebook(cells=list(cells), metadata=metadata)
        document.nbformat_minor = minor
        for cell in document.cells if minor < 5 else ():
            cell.pop("id")
        nbformat.write(document, self.workspace / NAME)

    def became(self, name: str = "daily.ipynb") -> Any:
        """What the document became, which is one itself."""
        document = nbformat.read(self.output / name, as_version=4)
        nbformat.validate(document)
        return document

    @property
    def cells(self) -> list[Any]:
        """The code cells of what it became."""
        return [it for it in self.became().cells if it.cell_type == "code"]

    @property
    def state(self) -> tuple[str, str]:
        """How the run ended, as what it became says."""
        run = self.became().metadata["mlpools"]
        return run["state"], run["message"]
