"""The page that lists what is in the runtime images, from their lock files."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path("docs/image-packages.md")
#: The table's columns: an image and its lock file.
_IMAGES = {"runtime": "runtime.txt", "runtime-full": "runtime-full.txt"}
_PINNED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;\\]+)", re.MULTILINE)


def page(locks: Path) -> str:
    """Return the page in Markdown.

    Args:
        locks: the folder of the lock files.
    """
    found = {image: pinned((locks / file).read_text()) for image, file in _IMAGES.items()}
    lines = [
        "# Packages of the runtime images",
        "",
        "`make lock` writes this page. [Which image a job gets](images.md) stands elsewhere; a job "
        "[installs](packages.md)",
        "what is not here.",
        "",
        f"| package | {' | '.join(f'`{image}`' for image in found)} |",
        f"|---|{'---|' * len(found)}",
    ]
    lines += [
        f"| {name} | {' | '.join(versions.get(name, '') for versions in found.values())} |"
        for name in sorted(set().union(*found.values()))
    ]
    return "\n".join(lines) + "\n"


def pinned(lock: str) -> dict[str, str]:
    """Return the packages of a lock file's text: name -> version."""
    return {found["name"]: found["version"] for found in _PINNED.finditer(lock)}
