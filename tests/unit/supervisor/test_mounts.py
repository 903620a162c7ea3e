"""A pod names the Secret that it lacks before it starts anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit
from mlpools.supervisor import mounts
from tests.support.pods import Pods, fake_worker, task


def secret(path: Path, *files: str) -> dict[str, Any]:
    return {"kind": "Secret", "name": "tls", "path": str(path), "files": list(files)}


def as_kubelet(folder: Path, *files: str) -> Path:
    """Write files as the kubelet does: links into a folder whose name begins with two dots."""
    data = folder / "..2026_11_22"
    data.mkdir(parents=True)
    (folder / "..data").symlink_to(data.name)
    for file in files:
        (data / file).write_text("x")
        (folder / file).symlink_to(f"..data/{file}")
    return folder


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        (("ca.crt",), (), ""),
        (("ca.crt",), ("ca.crt",), ""),
        (("ca.crt",), ("tls.key",), "has no key for the file tls.key: add it."),
        ((), (), "is not there or is empty: create it."),
        ((), ("ca.crt",), "is not there or is empty: create it."),
    ],
)
def test_absent(tmp_path: Path, there: tuple[str, ...], wanted: tuple[str, ...], words: str) -> None:
    folder = as_kubelet(tmp_path / "tls", *there)
    told = mounts.absent(task(tmp_path / "out", required=[secret(folder, *wanted)]))
    assert told.endswith(words)
    if words:
        assert told.startswith(f"Secret tls of namespace team-a, mounted at {folder}, ")
    else:
        assert told == ""


def test_a_mounted_file_is_there_and_a_mount_that_is_not_is_absent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert mounts.absent(task(tmp_path / "out", required=[secret(tmp_path / "file")])) == ""
    assert mounts.absent(task(tmp_path / "out", required=[secret(tmp_path / "none")])) != ""


def test_the_pod_ends_with_its_name_and_starts_no_worker(tmp_path: Path) -> None:
    folder = as_kubelet(tmp_path / "tls")
    wanted = task(tmp_path / "out", required=[secret(folder)])
    with Pods(wanted, tmp_path / "pods", fake_worker("print('worker'); end(0)")) as pods:
        [final] = pods.wait()
        output = pods[0].output()
    assert final.code == Exit.SECRET_MISSING
    assert final.message.startswith("Secret tls of namespace ")
    assert "worker" not in output
