"""``python -m mlpools.notebook.lab``: JupyterLab, without what it loads at each start and never uses.

More than half of the processor's time of its start goes there: to a grammar of internationalized addresses,
compiled anew each time though no schema of Jupyter's has any, and to a command line of an HTTP client.
Kernels and terminals are processes of their own, and have all that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

from mlpools.lean import without

#: Libraries, and the optional packages that each does without; both say so in their own code.
_UNUSED = {"jsonschema": ["rfc3987_syntax"], "httpx": ["rich", "click"]}


def load() -> None:
    """Import what JupyterLab needs without what nobody uses of it; another version may need less."""
    for library, unused in _UNUSED.items():
        if importlib.util.find_spec(library) is not None:
            with without(*unused):
                importlib.import_module(library)


def main() -> None:
    """Run JupyterLab with this process's arguments."""
    if importlib.util.find_spec("jupyterlab") is None:
        sys.exit(
            "This image has no JupyterLab: install the Python package jupyterlab in it, or say with command "
            "what the notebook runs instead."
        )
    load()
    # Terminals begin where the server is: in the files that stay. None of them is a module of the server.
    os.chdir(Path.home())
    importlib.import_module("jupyterlab.labapp").main()


if __name__ == "__main__":
    main()
