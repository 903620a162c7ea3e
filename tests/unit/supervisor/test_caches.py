"""What the image has ready is where libraries look for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpools.supervisor import caches


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    (folder / "matplotlib").mkdir(parents=True)
    (folder / "matplotlib" / "fontlist.json").write_text("{}")
    return folder


def test_what_the_image_has_ready_lies_in_the_home_folder(
    tmp_path: Path, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for _ in range(2):  # a restarted container finds it there
        caches.lay_out(ready)
        assert (tmp_path / "home/.cache/matplotlib/fontlist.json").read_text() == "{}"


def test_an_image_without_it_and_a_home_that_cannot_be_written_are_no_obstacles(
    tmp_path: Path, ready: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    caches.lay_out(tmp_path / "nothing")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    caches.lay_out(ready)
    assert "so libraries make their caches anew" in "".join(capfd.readouterr())
