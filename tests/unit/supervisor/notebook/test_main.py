"""Which program a pod's process is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpools.contract.wiring import NOTEBOOK_ENV, TASK_ENV, TERMINATION_LOG_ENV
from mlpools.supervisor.__main__ import main


@pytest.mark.parametrize(
    ("variables", "read"), [([NOTEBOOK_ENV], NOTEBOOK_ENV), ([NOTEBOOK_ENV, TASK_ENV], TASK_ENV)]
)
def test_the_ranks_that_a_cell_starts_are_no_notebooks(
    variables: list[str],
    read: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.delenv(TASK_ENV, raising=False)
    monkeypatch.setenv(TERMINATION_LOG_ENV, f"{tmp_path}/termination")
    for name in variables:
        monkeypatch.setenv(name, "no document")
    assert main() != 0
    said = capfd.readouterr()
    assert f"{read}: " in said.out + said.err
