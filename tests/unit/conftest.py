"""What several folders of unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlpools.contract import CACHE_ENV
from mlpools.storage import client
from tests.support.object_store import ObjectStore


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    """An object store on this machine, found through the environment, and a cache for what comes from it."""
    with ObjectStore() as store:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(client.PATIENCE_ENV, "3")
        monkeypatch.setenv(CACHE_ENV, str(tmp_path / "pod-cache"))
        monkeypatch.setattr(client, "_stores", {})
        yield store
