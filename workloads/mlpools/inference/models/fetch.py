"""A model's file or folder on this machine's disk, and the digest that names it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mlpools.errors import DataNotReadable, ModelUnreadable
from mlpools.storage import FileInfo, Location, locate

_PIECE_BYTES = 16 << 20
#: In the output of a training job: the report, which is written last, and what the model may be called.
_REPORT, _MODELS = "result.json", ("model.ubj", "model.txt", "model")


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A model that can be opened.

    Attributes:
        path: of the file or folder; None of a model that is code alone.
        digest: SHA-256 over all its files' names and bytes; empty if there are none.
    """

    path: Path | None = None
    digest: str = ""


def fetch(url: str, folder: Path) -> Fetched:
    """Lay a model down, unless it is on this machine already, and digest it.

    Args:
        url: of a file or folder, or of a training job's output, which stands for its model; empty for none.
        folder: an existing one for what has to be copied.

    Raises:
        ModelUnreadable: it is not there, or cannot be read.
    """
    if not url:
        return Fetched()
    place = locate(url)
    try:
        place, files = _files(place)
        digest, path = hashlib.sha256(), folder / place.name
        for name, info in files:
            digest.update(f"{name}\0{info.size}\0".encode())
            with _copied(place, path / name if name else path) as copy:
                for piece in _pieces(info):
                    digest.update(piece)
                    copy(piece)
    except DataNotReadable as error:
        raise ModelUnreadable(f"The model cannot be read: {error}") from error
    path = place.local or path
    names = [name for name, _ in files]
    # A folder with one file is that file: what a program of PyTorch leaves as its model.
    return Fetched(path / names[0] if len(names) == 1 and names[0] else path, digest.hexdigest())


def _files(place: Location) -> tuple[Location, list[tuple[str, FileInfo]]]:
    """Return where the model is, and its files by their names below it; a lone file has an empty one."""
    with contextlib.suppress(FileNotFoundError):
        return place, [("", place.info())]
    if place.child(_REPORT).exists():
        for name in _MODELS:
            with contextlib.suppress(ModelUnreadable):
                return _files(place.child(name))
    found = [(info.url[len(place.url.rstrip("/")) + 1 :], info) for info in place.list()]
    if not found:
        raise ModelUnreadable(f"There is no model at {place}. Check model.url, and whether it is mounted.")
    return place, found


def _pieces(info: FileInfo) -> Iterator[bytes]:
    with locate(info.url).open(info) as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


@contextlib.contextmanager
def _copied(place: Location, path: Path) -> Iterator[Callable[[bytes], object]]:
    """Give a function that writes a copy of what is read, where one is needed."""
    if place.local is not None:
        yield lambda _: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        yield file.write
