"""What an image is made of, as keys: equal keys, equal image; so what has a key need not be built again."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path

#: The images, and the lock file of each one's dependencies.
TARGETS = {"operator": "operator.txt", "runtime": "runtime.txt"}

#: The base where no registry is asked: a Debian with Python 3.11 and what the wheels link to.
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "libgomp1", "python3-venv")

#: All that the Dockerfile reads, and its own texts; of these only the last do not change an image's key.
PACKAGE_FOLDERS = ("operator/mlpools_operator", "workloads/mlpools")
BUILD_FILES = ("pyproject.toml", "requirements/build.txt")
INSTALLER = ("Dockerfile", "requirements/install.sh")
TEXTS = (".dockerignore", "README.md", "LICENSE")


def copy_sources(root: Path, context: Path) -> None:
    """Copy what images are made of from a checkout into an empty folder."""
    locks = [f"requirements/{lock}" for lock in TARGETS.values()]
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
    files = (*INSTALLER, f"requirements/{TARGETS[target]}")
    return _key([base().encode(), *((context / file).read_bytes() for file in files)])


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
