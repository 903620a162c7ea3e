"""What the container that lays mlpools beside an image of the job's own says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.runtime import inject


@pytest.fixture
def termination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLPOOLS_TERMINATION_LOG", str(tmp_path / "termination"))
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    return tmp_path / "termination"


def test_a_pools_image_that_lacks_what_reads_git(
    tmp_path: Path, termination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inject, "_GIT", ("no_such_package",))
    assert inject.main([str(tmp_path)]) == Exit.DONE
    assert not termination.exists()
    assert inject.main([str(tmp_path), "--git"]) == Exit.INVALID_SPEC
    final = Final.from_json(termination.read_text())
    assert (final.code, final.rank) == (Exit.INVALID_SPEC, 1)
    assert "has no no_such_package, which is put beside the job's own for code.git" in final.message


def test_a_volume_that_does_not_take_it(tmp_path: Path, termination: Path) -> None:
    assert inject.main([str(tmp_path / "absent")]) == Exit.INTERNAL
    words = Final.from_json(termination.read_text()).message
    assert words.startswith("mlpools could not be written into the pod's volume at")
    assert words.endswith("No such file or directory.")
