"""The environment in which code under test finds an object store of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from mlpools.contract.wiring import CACHE_ENV
from mlpools.storage import client


class Served(Protocol):
    """A store that says how it is found."""

    def environment(self) -> dict[str, str]:
        """Return variables with its end point and credentials."""


def use_store(store: Served, monkeypatch: pytest.MonkeyPatch, folder: Path, *, patience: int) -> None:
    """Have a store found through the environment, with a cache below a folder for what comes from it.

    Args:
        store: which.
        monkeypatch: of the test.
        folder: of the test.
        patience: seconds for which a request that fails is repeated.
    """
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(client.PATIENCE_ENV, str(patience))
    monkeypatch.setenv(CACHE_ENV, str(folder / "pod-cache"))
    monkeypatch.setattr(client, "_stores", {})
