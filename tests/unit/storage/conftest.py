from __future__ import annotations

import pytest

from tests.support.object_store import ObjectStore


@pytest.fixture
def store(object_store: ObjectStore) -> ObjectStore:
    return object_store
