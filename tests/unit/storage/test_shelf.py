"""A shelf holds whole files only, stays within its budget, and survives writers that are killed."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from mlpools import budgets
from mlpools.contract.wiring import CACHE_ENV
from mlpools.storage.shelf import Shelf
from tests.support.waiting import PATIENCE


def shelf_of(folder: Path, budget: int) -> Shelf:
    """A shelf whose half of the disk is so many bytes."""

    class Small(Shelf):
        def _budget(self, held: int) -> int:
            return budget

    return Small(folder)


def fill(byte: bytes, size: int) -> Callable[[BinaryIO], object]:
    return lambda file: file.write(byte * size)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def used(shelf: Shelf, name: str, when: int) -> None:
    """Set the time at which a file was last used."""
    path = shelf.folder / name
    os.utime(path, ns=(when, path.stat().st_mtime_ns))


def test_a_file_is_found_after_it_was_put(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path / "new" / "folder", 100)
    assert shelf.find("a") is None
    assert shelf.put("a", 10, fill(b"a", 10)) == shelf.folder / "a"
    found = shelf.find("a")
    assert found is not None
    assert found.read_bytes() == b"a" * 10


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, 30)
    for moment, name in enumerate("abc"):
        shelf.put(name, 10, fill(b"x", 10))
        used(shelf, name, moment)
    used(shelf, ".lock", -1)
    changed = (tmp_path / "a").stat().st_mtime_ns
    shelf.find("a")
    assert (tmp_path / "a").stat().st_mtime_ns == changed
    shelf.put("d", 10, fill(b"d", 10))
    assert files(tmp_path) == ["a", "c", "d"]
    assert (tmp_path / ".lock").exists()


def test_who_has_a_file_open_keeps_it_when_it_goes(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, 10)
    path = shelf.put("a", 10, fill(b"a", 10))
    assert path is not None
    with path.open("rb") as file:
        shelf.put("b", 10, fill(b"b", 10))
        assert files(tmp_path) == ["b"]
        assert file.read() == b"a" * 10


def test_what_is_in_use_is_not_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shelf = shelf_of(tmp_path, 30)
    for name in "abc":
        shelf.put(name, 10, fill(b"x", 10))
    with caplog.at_level(logging.WARNING):
        assert shelf.put("d", 10, fill(b"d", 10), in_use="abc") is None
    assert "in use" in caplog.text
    assert shelf.put("d", 10, fill(b"d", 10), in_use="ac") is not None
    assert files(tmp_path) == ["a", "c", "d"]


def test_what_is_above_the_budget_is_refused_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = shelf_of(tmp_path, 30)
    shelf.put("a", 10, fill(b"a", 10))
    with caplog.at_level(logging.WARNING):
        assert shelf.put("big", 31, fill(b"b", 31)) is None
        assert shelf.put("big", 32, fill(b"b", 32)) is None
    assert files(tmp_path) == ["a"]
    (said,) = caplog.messages
    assert "31 bytes are more than its budget of 30" in said


def test_a_full_disk_leaves_nothing_behind_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shelf = shelf_of(tmp_path, 100)
    with caplog.at_level(logging.WARNING):
        assert [shelf.put("a", 10, full) for _ in range(3)] == [None] * 3
    assert files(tmp_path) == []
    (said,) = caplog.messages
    assert "No space left on device" in said
    assert shelf.put("a", 10, fill(b"a", 10)) is not None


def test_a_writers_other_mistakes_are_not_hidden(tmp_path: Path) -> None:
    def wrong(file: BinaryIO) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shelf_of(tmp_path, 100).put("a", 10, wrong)
    assert files(tmp_path) == []


def _write_and_hang(folder: Path, writing: object, name: str) -> None:
    def write(file: BinaryIO) -> None:
        writing.set()  # type: ignore[attr-defined]
        signal.pause()

    shelf_of(folder, 30).put(name, 20, write)


@pytest.fixture
def writer(tmp_path: Path) -> multiprocessing.process.BaseProcess:
    """A process that is in the middle of writing 20 of a shelf's 30 bytes."""
    context = multiprocessing.get_context("spawn")
    writing = context.Event()
    process = context.Process(target=_write_and_hang, args=(tmp_path, writing, "theirs"), daemon=True)
    process.start()
    assert writing.wait(PATIENCE)
    return process


def test_room_that_another_process_is_writing_to_is_taken(
    tmp_path: Path, writer: multiprocessing.process.BaseProcess, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = shelf_of(tmp_path, 30)
    assert shelf.put("small", 10, fill(b"s", 10)) is not None
    with caplog.at_level(logging.WARNING):
        assert shelf.put("large", 20, fill(b"l", 20)) is None
    assert "being written" in caplog.text
    writer.kill()
    writer.join()


def test_what_a_killed_writer_left_is_no_file_and_is_cleared_away(
    tmp_path: Path, writer: multiprocessing.process.BaseProcess
) -> None:
    writer.kill()
    writer.join()
    shelf = shelf_of(tmp_path, 30)
    assert len(files(tmp_path)) == 1
    assert shelf.find("theirs") is None
    assert shelf.put("mine", 20, fill(b"m", 20)) is not None
    assert files(tmp_path) == ["mine"]


def test_a_folder_that_cannot_be_made_is_a_shelf_without_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shelf = shelf_of(tmp_path / "file" / "folder", 100)
    assert shelf.find("a") is None
    assert shelf.put("a", 1, fill(b"a", 1)) is None


def test_the_budget_is_a_share_of_what_the_disk_can_spare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "disk", lambda folder, held: 20 + held)
    shelf = Shelf(tmp_path, 0.5)
    assert shelf.put("a", 10, fill(b"a", 10)) is not None
    assert shelf.budget == 15
    assert shelf.put("b", 15, fill(b"b", 15)) is not None
    assert files(tmp_path) == ["b"]


def test_a_folder_of_another_user_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = shelf_of(tmp_path, 100)
    assert shelf.put("a", 1, fill(b"a", 1)) is not None
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with caplog.at_level(logging.WARNING):
        assert shelf.find("a") is None
        assert shelf.put("b", 1, fill(b"b", 1)) is None
    assert "it belongs to user" in caplog.text
    monkeypatch.setenv(CACHE_ENV, str(tmp_path))
    assert shelf.find("a") is not None
