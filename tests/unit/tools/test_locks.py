"""A folder as a lock."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import PATIENCE
from tools.locks import locked
from tools.steps import wait_for


def test_one_at_a_time(tmp_path: Path) -> None:
    inside, most, guard = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path / "lock"):
                with guard:
                    inside += 1
                    most = max(most, inside)
                threading.Event().wait(0.001)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_who_waited_for_a_folder_that_was_removed_holds_the_new_one(tmp_path: Path) -> None:
    folder, order = tmp_path / "lock", []
    removed, held = threading.Event(), threading.Event()

    def first() -> None:
        with locked(folder):
            held.set()
            removed.wait(PATIENCE)
            order.append("removed")
            folder.rmdir()

    def second() -> None:
        held.wait(PATIENCE)
        with locked(folder):
            order.append("held")
            assert folder.is_dir()
            # A third must find it taken: it is the folder's lock, not the removed one's.
            third.start()
            assert not entered.wait(0.2)

    entered = threading.Event()

    def enter() -> None:
        with locked(folder):
            entered.set()

    third = threading.Thread(target=enter)
    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    removed.set()
    for thread in threads:
        thread.join(PATIENCE)
    wait_for("the third", lambda: None if entered.is_set() else "it waits", seconds=PATIENCE)
    third.join(PATIENCE)
    assert order == ["removed", "held"]


def test_a_folder_that_is_removed_between_two_looks_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, looks = tmp_path / "lock", []
    mkdir = Path.mkdir

    def removed_meanwhile(path: Path, **options: Any) -> None:
        looks.append(path)
        if len(looks) == 1:  # what pathlib raises if its second look finds nothing
            raise FileExistsError(path)
        mkdir(path, **options)

    monkeypatch.setattr(Path, "mkdir", removed_meanwhile)
    with locked(folder):
        assert folder.is_dir()
    monkeypatch.undo()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), locked(tmp_path / "file"):
        pass


def test_what_fails_inside_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), locked(tmp_path / "lock"):
        raise FileNotFoundError("mine")
