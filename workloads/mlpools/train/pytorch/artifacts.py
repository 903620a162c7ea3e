"""Files that a program leaves beside its model, written when they are made."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlpools.storage import Location

FOLDER = "artifacts"


class ArtifactManager:
    """Files below ``artifacts/`` of the job's output. Any rank may write; of equal names the last stays."""

    def __init__(self, place: Location) -> None:
        self._place = place

    def upload(
        self, obj: Any, filename: str, write_function: Callable[[Any, str], None] | None = None
    ) -> str:
        """Keep a file or an object, and return its URL.

        Args:
            obj: a ``Path``, whose file is copied; bytes, which are written as they are; or an object.
            filename: below ``artifacts/``; it may have folders.
            write_function: writes an object to a local path; pickle does by default.

        Raises:
            OutputNotWritable: the volume or the store refuses.
        """
        place = self._place.child(filename)
        if write_function is not None:
            path = _scratch(filename)
            write_function(obj, str(path))
            place.write_file(path)
            path.unlink()
        elif isinstance(obj, Path):
            place.write_file(obj)
        else:
            place.write(obj if isinstance(obj, bytes) else pickle.dumps(obj))
        return place.url

    def list(self) -> list[str]:
        """Return the names of all files."""
        prefix = f"{self._place.url}/"
        return [info.url.removeprefix(prefix) for info in self._place.list(hidden=True)]

    def get(self, filename: str, read_function: Callable[[str], Any] | None = None) -> Any:
        """Return an object.

        Args:
            filename: as it was kept.
            read_function: reads it from a local path; pickle does by default.

        Raises:
            FileMissing: there is no such file.
        """
        data = self._place.child(filename).read()
        if read_function is None:
            return pickle.loads(data)  # noqa: S301 - the job's own
        path = _scratch(filename)
        path.write_bytes(data)
        try:
            return read_function(str(path))
        finally:
            path.unlink(missing_ok=True)

    def download(self, filename: str, local_dir: str) -> str:
        """Copy a file into a local folder, and return its path there.

        Raises:
            FileMissing: there is no such file.
        """
        path = Path(local_dir) / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._place.child(filename).read())
        return str(path)


def _scratch(filename: str) -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="mlpools-")) / Path(filename).name
