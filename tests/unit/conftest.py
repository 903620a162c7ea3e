"""What several folders of unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.object_store import ObjectStore
from tests.support.store_environment import use_store


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    """An object store on this machine, found through the environment, and a cache for what comes from it."""
    with ObjectStore() as store:
        use_store(store, monkeypatch, tmp_path, patience=3)
        yield store
