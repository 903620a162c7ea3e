"""Libraries imported as if an optional package of theirs were not installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from mlpools.lean import without

LIBRARY = """
try:
    import frames_of_somebody
    found = True
except ImportError:
    found = False
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library, and what it makes use of where that is installed."""
    (tmp_path / "frames_of_somebody.py").write_text("")
    (tmp_path / "library_of_somebody.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("frames_of_somebody", "library_of_somebody"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def library() -> bool:
    found: bool = importlib.import_module("library_of_somebody").found
    return found


@pytest.mark.usefixtures("installed")
def test_a_library_does_without_a_package_that_others_import_afterwards() -> None:
    with without("frames_of_somebody", "of_nobody"):
        assert not library()
    assert importlib.import_module("frames_of_somebody")


@pytest.mark.usefixtures("installed")
def test_a_package_that_is_loaded_stays() -> None:
    loaded = importlib.import_module("frames_of_somebody")
    with without("frames_of_somebody"):
        assert library()
    assert sys.modules["frames_of_somebody"] is loaded


@pytest.mark.usefixtures("installed")
def test_a_failure_leaves_nothing_behind() -> None:
    with pytest.raises(ZeroDivisionError), without("frames_of_somebody"):
        raise ZeroDivisionError
    assert importlib.import_module("frames_of_somebody")
