"""A file for who is on call. Everything in it has gone through one redactor, here."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from mlpools_kubectl.redaction import Redactor

_MODE = 0o600


class Bundle:
    """An archive that is being written; it takes texts and objects, and nothing unredacted.

    Attributes:
        notes: what is not in it, and why.
    """

    def __init__(self, path: Path, redactor: Redactor) -> None:
        """Make the file, which is not there yet, for its owner's eyes only."""
        self._out = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb")
        self._archive = tarfile.open(fileobj=self._out, mode="w:gz")  # noqa: SIM115 - closed by __exit__
        self._root = path.name.removesuffix(".tar.gz")
        self._redactor = redactor
        self.notes: list[str] = []

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()
        self._out.close()

    def text(self, name: str, text: str) -> None:
        """Add a text."""
        self._add(name, self._redactor.text(text))

    def object(self, name: str, found: Any) -> None:
        """Add an object of the API."""
        # Each text of it is redacted by itself: YAML may break one in two, or write it in other characters.
        self._add(name, yaml.safe_dump(self._redactor.tree(found), sort_keys=False, allow_unicode=True))

    def _add(self, name: str, text: str) -> None:
        data = self._redactor.known(text).encode()
        entry = tarfile.TarInfo(f"{self._root}/{self._redactor.known(name)}")
        entry.size, entry.mtime, entry.mode = len(data), int(time.time()), _MODE
        self._archive.addfile(entry, io.BytesIO(data))
