"""Packages that are installed in a kernel of a real JupyterLab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit
from tests.support import notebook_pod


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("notebook")
    return notebook_pod.run("tests.support.packages_scenario", folder, seconds=400)


def test_a_kernel_installs_and_imports_at_once(found: dict[str, Any]) -> None:
    assert "Installed cat 1.0." in found["magic"]
    assert "Installed dog 1.0." in found["magic"]
    assert "found 1.0 1.0" in found["magic"]


def test_the_pool_decides_about_what_comes_along(found: dict[str, Any]) -> None:
    assert "cheese, which mouse needs: its packages.block has cheese" in found["blocked"]
    assert "Traceback" not in found["blocked"]


def test_after_a_stop_and_a_start_all_of_it_is_there(found: dict[str, Any]) -> None:
    assert found["end"]["exitCode"] == Exit.PREEMPTED
    assert "found 1.0 1.0" in found["again"]


def test_what_cannot_be_restored_is_said_once_in_the_notebook_and_in_status(found: dict[str, Any]) -> None:
    assert found["trouble"].startswith("The packages of this workspace could not be restored. ")
    assert found["lost"].count("The packages of this workspace could not be restored. ") == 1
