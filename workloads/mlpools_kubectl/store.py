"""Files of an object store, with the credentials of this machine's environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlpools.errors import JobError
from mlpools.storage import FileInfo, Location, locate
from mlpools_kubectl.failures import Failure, NotFound

_PART_BYTES = 8 << 20


def bring(
    url: str,
    folder: Path,
    *,
    without: tuple[str, ...],
    expect: Callable[[int], None],
    advance: Callable[[int], None],
) -> None:
    """Copy what is below a URL into a folder of this machine.

    Args:
        url: of a folder.
        folder: an empty one.
        without: names below the URL that are left out.
        expect: is told how many bytes there are.
        advance: is told of bytes that came.

    Raises:
        Failure: the store does not give it.
    """
    try:
        root = locate(url)
        files = {_below(root, it): it for it in root.list(hidden=True)}
        wanted = {name: it for name, it in files.items() if name.partition("/")[0] not in without}
        if not wanted:
            raise NotFound(f"There is nothing at {url}.")
        expect(sum(it.size for it in wanted.values()))
        for name, info in wanted.items():
            _copy(info, folder / name, advance)
    except (JobError, ValueError) as error:
        raise Failure(
            f"{str(error).rstrip('.')}. The store is read with the credentials of this shell's environment, "
            "as the job read it with those of its pods."
        ) from None


def _below(root: Location, file: FileInfo) -> str:
    name = file.url.removeprefix(root.url).lstrip("/")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise Failure(f"{file.url} has a name that no folder of this machine can hold.")
    return name


def _copy(info: FileInfo, target: Path, advance: Callable[[int], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    place = locate(info.url)
    with target.open("wb") as out:
        for start in range(0, info.size, _PART_BYTES):
            data = place.read_range(start, min(start + _PART_BYTES, info.size))
            out.write(data)
            advance(len(data))
