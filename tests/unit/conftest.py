"""What several folders of unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlpools.storage import client
from tests.support.object_store import ObjectStore


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An object store on this machine, found through the environment as any other one is."""
    with ObjectStore() as store:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(client.PATIENCE_ENV, "3")
        monkeypatch.setattr(client, "_stores", {})
        yield store
