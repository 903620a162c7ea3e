"""The program that runs JupyterLab."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlpools


def test_an_image_without_jupyterlab_is_told_in_one_sentence() -> None:
    code = (
        "import runpy, sys; sys.path.append(sys.argv[1]); runpy.run_module('mlpools.notebook.lab', "
        "run_name='__main__')"
    )
    workloads = str(Path(mlpools.__file__).parents[1])
    # -S: without the packages of this environment.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, workloads], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("This image has no JupyterLab: install the Python package jupyterlab")
    assert "Traceback" not in done.stderr
