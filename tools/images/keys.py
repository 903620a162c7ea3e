"""What an image is made of, as keys: equal keys, equal image; so what has a key need not be built again."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """An image.

    Attributes:
        lock: the lock file of its dependencies.
        upon: the image on whose dependencies its own lie; empty: the base.
        archives: kept of it, so that changing branches builds nothing.
        dependencies: archives kept of what is below its code.
    """

    lock: str
    upon: str = ""
    archives: int = 8
    dependencies: int = 2


#: The images. The full one's dependencies take gigabytes, so that only the latest is kept.
TARGETS = {
    "operator": Target("operator.txt"),
    "runtime": Target("runtime.txt"),
    "runtime-full": Target("runtime-full.txt", upon="runtime", archives=2, dependencies=1),
}
#: What a plain build makes; the rest is asked for by name.
USUAL = ("operator", "runtime")

#: The base where no registry is asked: a Debian with Python 3.11 and what the wheels link to.
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "libgomp1", "python3-venv")

#: All that the Dockerfile reads, and its own texts; of these only the last do not change an image's key.
PACKAGE_FOLDERS = (
    "operator/mlpools_operator",
    "workloads/mlpools",
    "workloads/mlpools_cli",
    "workloads/mlpools_kubectl",
)
BUILD_FILES = ("pyproject.toml", "requirements/build.txt")
INSTALLER = ("Dockerfile", "requirements/install.sh", "requirements/uv.txt")
TEXTS = (".dockerignore", "README.md", "LICENSE")


def copy_sources(root: Path, context: Path) -> None:
    """Copy what images are made of from a checkout into an empty folder."""
    locks = [f"requirements/{target.lock}" for target in TARGETS.values()]
    for name in (*BUILD_FILES, *INSTALLER, *TEXTS, *locks):
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target)
    for name in PACKAGE_FOLDERS:
        shutil.copytree(root / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))


def base() -> str:
    """The key of the base image."""
    return _key([SUITE.encode(), ",".join(PACKAGES).encode(), platform.machine().encode()])


def dependencies(context: Path, target: str) -> str:
    """The key of everything below an image's code."""
    upon = TARGETS[target].upon
    below = dependencies(context, upon) if upon else base()
    files = (*INSTALLER, f"requirements/{TARGETS[target].lock}")
    return _key([below.encode(), *((context / file).read_bytes() for file in files)])


def image(context: Path, target: str) -> str:
    """The key of an image."""
    files = [context / name for name in BUILD_FILES]
    for name in PACKAGE_FOLDERS:
        files += sorted(path for path in (context / name).rglob("*") if path.is_file())
    parts = [part for path in files for part in (str(path.relative_to(context)).encode(), path.read_bytes())]
    return _key([dependencies(context, target).encode(), *parts])


def _key(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]
