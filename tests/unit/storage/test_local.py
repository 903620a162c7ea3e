"""Files appear whole or not at all, and checkpoints count only with their COMMIT."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from mlpools.locations import child_url, local_path
from mlpools.storage import local, locate
from mlpools.train.checkpoints import Checkpoints


def test_a_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    local.write(tmp_path / "a", b"one")
    local.write(tmp_path / "a", b"two")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"two"}


def test_a_write_once_does_not_replace(tmp_path: Path) -> None:
    local.write(tmp_path / "a", b"one", once=True)
    with pytest.raises(FileExistsError):
        local.write(tmp_path / "a", b"two", once=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"one"}


@pytest.mark.parametrize("once", [False, True])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, once: bool
) -> None:
    local.write(tmp_path / "a", b"one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        local.write(tmp_path / "b" if once else tmp_path / "a", b"two", once=once)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"one"}


def test_urls_and_paths(tmp_path: Path) -> None:
    assert local_path("file:///a/b", "x") == local_path("/a/b", "x") == Path("/a/b")
    assert local_path("file:///a%20b", "x") == Path("/a b")
    assert child_url("file:///a/", "model.ubj") == "file:///a/model.ubj"
    for url in ("s3://bucket/key", "relative", "file://host/path"):
        with pytest.raises(ValueError, match="only files on a mounted volume"):
            local_path(url, "output.url")


def steps(root: Path) -> list[int]:
    return sorted(int(path.parent.name.removeprefix("step-")) for path in root.glob("uid/*/COMMIT"))


@pytest.mark.parametrize("dies_at", range(1, 9))
def test_a_crash_between_any_two_writes_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    checkpoints = Checkpoints(locate(tmp_path), "uid", {"data": "x"}, keep=1)
    checkpoints.save(10, b"model 10", {"history": {}})
    real, calls = os.fsync, 0

    def dying(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= dies_at:
            raise KeyboardInterrupt
        real(descriptor)

    monkeypatch.setattr(os, "fsync", dying)
    with contextlib.suppress(KeyboardInterrupt):
        checkpoints.save(20, b"model 20", {"history": {}})
    monkeypatch.setattr(os, "fsync", real)
    newest = checkpoints.newest(of_others=False)
    assert newest is not None
    assert (newest.step, newest.model) in {(10, b"model 10"), (20, b"model 20")}
    checkpoints.save(30, b"model 30", {})
    assert steps(tmp_path) == [30]


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(locate(tmp_path), "uid", {}, keep=3)
    for step in (5, 10, 15, 20, 1_000_000_000):
        checkpoints.save(step, b"m", {})
    assert steps(tmp_path) == [15, 20, 1_000_000_000]
    newest = checkpoints.newest(of_others=False)
    assert newest is not None
    assert newest.step == 1_000_000_000
