"""Every job of the examples runs, on this machine and on little data; some in the stage of big libraries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, with_jobs
from tests.support.local_runs import run_example


def test_every_job_of_the_examples_is_run() -> None:
    assert sorted(EXAMPLES) == with_jobs(), "say in tests/support/examples.py what its data looks like"


@pytest.mark.parametrize("name", [name for name, it in EXAMPLES.items() if not it.needs])
def test_the_job_runs(name: str, tmp_path: Path) -> None:
    run_example(name, tmp_path)
