from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlpools.data.sql import scratch

_MAKE = "from mlpools.data.sql import scratch; print(scratch.folder(), flush=True)"


def _start(code: str, cache: Path) -> subprocess.Popen[str]:
    environment = {"MLPOOLS_CACHE": str(cache), "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_job_has_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPOOLS_STAGE", "s3://bucket/checkpoints/uid/sql")
    assert scratch.folder() == scratch.folder()
    assert scratch.folder().url == "s3://bucket/checkpoints/uid/sql"


def test_elsewhere_every_reading_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLPOOLS_STAGE", raising=False)
    monkeypatch.setenv("MLPOOLS_CACHE", str(tmp_path))
    assert scratch.folder() != scratch.folder()


def test_folders_go_with_their_process_or_with_the_next_one(tmp_path: Path) -> None:
    ended = _start(_MAKE, tmp_path)
    ended.communicate()
    assert list((tmp_path / "sql").iterdir()) == []

    killed, living = _start(f"{_MAKE}; input()", tmp_path), _start(f"{_MAKE}; input()", tmp_path)
    for process in (killed, living):
        assert process.stdout is not None
        assert str(tmp_path) in process.stdout.readline()
    killed.kill()
    killed.communicate()
    assert len(list((tmp_path / "sql").iterdir())) == 2

    _start(_MAKE, tmp_path).communicate()
    (left,) = (tmp_path / "sql").iterdir()
    assert left.name.startswith(f"{living.pid}-")
    living.communicate("\n")
