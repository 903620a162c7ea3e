"""Under sudo, what is made belongs to the caller."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import caller
from tools.steps import cache_dir


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_and_what_was_missing_above_it_are_the_caller_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a" / "b"))
    made = cache_dir()
    assert [path.stat().st_uid for path in (made, made.parent, made.parent.parent)] == [65534] * 3
    assert tmp_path.stat().st_uid == 0


def test_the_caller_s_home_is_meant_and_not_root_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "nobody")
    assert caller.home() != Path.home()
    monkeypatch.delenv("SUDO_USER")
    assert caller.home() == Path.home()
