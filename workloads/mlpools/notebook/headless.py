"""``python -m mlpools.notebook.headless DOCUMENT [NAME=JSON ...]``: runs a document of a notebook.

The document stays as it is. What becomes of it is written beside the run's other results. Its kernel finds
what the notebook's own kernels find.
"""

from __future__ import annotations

import importlib.util
import json
import keyword
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlpools.contract import wiring
from mlpools.errors import InvalidSpec, JobError
from mlpools.notebook import kept
from mlpools.train.reporter import log

#: What libraries take for a place in a gang, and the run's own reports: the notebook's kernels have neither.
_OF_THE_JOB = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"),
    *(wiring.LEADER_PORT_ENV, wiring.REPORT_PIPE_ENV),
)


def parameters(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of a command line: words such as ``rounds=20``, whose second part is JSON.

    Raises:
        InvalidSpec: a name or a value is none.
    """
    values = {}
    for word in words:
        name, _, text = word.partition("=")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise InvalidSpec(f"{name!r} cannot be a parameter: parameters are variables of Python.")
        try:
            values[name] = json.loads(text)
        except ValueError as error:
            raise InvalidSpec(f"The value of parameter {name} is no JSON: {text[:80]!r}.") from error
    return values


def settle(workspace: Path) -> dict[str, str]:
    """Settle in the workspace as the notebook does, and return the environment of its kernels.

    Raises:
        InvalidSpec: packages that were installed in the notebook are not there for this image.
    """
    image = kept.image(sys.path)
    library = kept.library(workspace, image)
    if kept.read(workspace).asked and not kept.is_whole(workspace, image):
        raise InvalidSpec(
            "The packages that were installed in the notebook are not there for the image and "
            "runtime.packages as they are now: start the notebook once, which installs them again."
        )
    os.environ |= kept.found_by_kernels(workspace, library, os.environ)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(Path(tempfile.gettempdir()) / "jupyter-runtime")
    return {name: value for name, value in os.environ.items() if name not in _OF_THE_JOB}


def main(words: Sequence[str]) -> int:
    """Run a document and return the exit code; the last line says what went wrong."""
    workspace = Path(os.environ.get(wiring.WORKSPACE_ENV, wiring.WORKSPACE))
    folder = Path(os.environ[wiring.OUTPUT_URL_ENV].removeprefix("file://"))
    try:
        _run(workspace, words[0], parameters(words[1:]), folder)
    except JobError as error:
        print(error, flush=True)  # noqa: T201 - the last line of the log tells how it ended
        return 1
    log(f"{words[0]} ran to its end; {folder} has its outputs")
    return 0


def _run(workspace: Path, name: str, values: dict[str, Any], folder: Path) -> None:
    if importlib.util.find_spec("nbclient") is None:
        raise InvalidSpec(
            "This image cannot run documents, since it has no nbclient: add nbclient and ipykernel to "
            "runtime.packages, or to the image."
        )
    # Not before it is known that these are there.
    from mlpools.notebook.executed import Executed
    from mlpools.notebook.playing import Player

    executed = Executed(workspace, name, folder)
    executed.put_in(values)
    Player(executed).play(settle(workspace))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
