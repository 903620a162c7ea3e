"""The examples' jobs that need a large library run, on this machine and on little data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES
from tests.support.local_runs import run_example


@pytest.mark.parametrize("name", [name for name, it in EXAMPLES.items() if it.needs])
def test_the_job_runs(name: str, tmp_path: Path) -> None:
    pytest.importorskip(EXAMPLES[name].needs)
    run_example(name, tmp_path)
