from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlpools.data.sql import place

_MAKE = {
    "sql": "from mlpools.data.sql import place; print(place.folder(), flush=True)",
    "groups": """
import pyarrow as pa
from mlpools.data import ShardedDataConnector
from mlpools.gang import Gang
rows = pa.table({"key": [2, 1, 2], "row": [0, 1, 2]})
groups = ShardedDataConnector.from_dataframe(rows, group_column="key").get_shard(Gang(0, 1))
print(*(source.urls[0] for source in groups.data_sources), flush=True)
""",
}


def _start(code: str, cache: Path) -> subprocess.Popen[str]:
    environment = {"MLPOOLS_CACHE": str(cache), "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_job_has_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPOOLS_STAGE", "s3://bucket/checkpoints/uid/sql")
    assert place.folder() == place.folder()
    assert place.folder().url == "s3://bucket/checkpoints/uid/sql"


def test_elsewhere_every_reading_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLPOOLS_STAGE", raising=False)
    monkeypatch.setenv("MLPOOLS_CACHE", str(tmp_path))
    assert place.folder() != place.folder()


@pytest.mark.parametrize("what", _MAKE)
def test_folders_go_with_their_process_or_with_the_next_one(tmp_path: Path, what: str) -> None:
    make = _MAKE[what]
    ended = _start(make, tmp_path)
    ended.communicate()
    assert list((tmp_path / what).iterdir()) == []

    killed, living = (_start(f"{make}\ninput()", tmp_path) for _ in range(2))
    for process in (killed, living):
        assert process.stdout is not None
        assert str(tmp_path) in process.stdout.readline()
    killed.kill()
    killed.communicate()
    assert len(list((tmp_path / what).iterdir())) == 2

    _start(make, tmp_path).communicate()
    (left,) = (tmp_path / what).iterdir()
    assert left.name.startswith(f"{living.pid}-")
    living.communicate("\n")
