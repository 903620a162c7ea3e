"""The packages that were installed in a notebook, as its workspace keeps them.

They lie in a folder of their own for each image: what was chosen to go with one image may hide, or break,
what another one has. The record says what was asked for, so that it can be resolved for another image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.metadata
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpools.document import ContractError, Document
from mlpools.refusals import package_name

#: In the workspace.
FOLDER = ".mlpools/packages"
_NOTICE = "mlpools-notice"
_LOCK = "mlpools-packages.lock"


@dataclasses.dataclass(frozen=True)
class Record(Document):
    """What is installed.

    Attributes:
        asked: requirements, as a person wrote them.
        packages: ``Pinned`` ones as plain JSON: these, and what they need beside the image.
        image: for which they were resolved, as ``image`` names it.
    """

    asked: Sequence[str] = ()
    packages: Sequence[dict[str, Any]] = ()
    image: str = ""


def image(paths: Sequence[str]) -> str:
    """Return a name for what an image has, so that equal ones mean the same.

    Args:
        paths: where its Python looks for modules, without what this notebook installed.
    """
    folders = {folder for folder in map(Path, paths) if folder.is_dir()}
    packages = sorted({entry.name for folder in folders for entry in folder.glob("*.dist-info")})
    told = [sysconfig.get_python_version(), sysconfig.get_platform(), *packages]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def library(workspace: Path, image: str) -> Path:
    """Return where the packages for an image are: what kernels import from."""
    return workspace / FOLDER / image


def versions(folder: Path) -> dict[str, str]:
    """Return the packages that a folder has: name -> version."""
    found = importlib.metadata.distributions(path=[str(folder)])
    return {package_name(it.metadata["Name"]): it.version for it in found if it.metadata["Name"]}


def record_file(workspace: Path) -> Path:
    """Return where the record is."""
    return workspace / FOLDER / "record.json"


def read(workspace: Path) -> Record:
    """Return the record; an empty one if there is none that can be read."""
    try:
        return Record.from_json(record_file(workspace).read_text(encoding="utf-8"))
    except (OSError, ContractError):
        return Record()


def is_whole(workspace: Path, image: str) -> bool:
    """Whether all that the record says is installed for an image."""
    record = read(workspace)
    wanted = {it["name"]: it["version"] for it in record.packages}
    return record.image == image and versions(library(workspace, image)) == wanted


def found_by_kernels(workspace: Path, library: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which kernels find the packages, and what a person has set up at home.

    Args:
        workspace: of the notebook.
        library: of its packages.
        environ: without them; what it leads to comes first.
    """
    return {
        "HOME": str(workspace),
        "PATH": ":".join(filter(None, (environ.get("PATH"), str(library / "bin")))),
        "PYTHONPATH": ":".join(filter(None, (environ.get("PYTHONPATH"), str(library)))),
    }


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other process of this pod installs."""
    with (Path(tempfile.gettempdir()) / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def notice() -> str:
    """Return what people in the notebook have to know about its packages; empty if there is nothing."""
    try:
        return _notice().read_text(encoding="utf-8")
    except OSError:
        return ""


def set_notice(text: str) -> None:
    """Say something to the people in the notebook, or take it back."""
    if text:
        _notice().write_text(text, encoding="utf-8")
    else:
        _notice().unlink(missing_ok=True)


def _notice() -> Path:
    return Path(tempfile.gettempdir()) / _NOTICE
